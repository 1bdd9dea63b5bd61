// Installed as pulumi-resource-pulumi-nodejs: runs the dynamic provider that a Node.js program brought along in
// its node_modules. npm does not put that provider on PATH, and the file that does the same in the SDK starts
// Node.js twice and keeps a shell around; this one finds the script and becomes Node.js.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const provider = "@pulumi/pulumi/cmd/dynamic-provider"

func main() {
	err := run()
	fmt.Fprintf(os.Stderr, "pulumi-resource-pulumi-nodejs: %v\n", err)
	os.Exit(1)
}

func run() error {
	node, err := exec.LookPath("node")
	if err != nil {
		return fmt.Errorf("Node.js is needed to run this program's dynamic providers: %w", err)
	}
	script, err := findProvider(node)
	if err != nil {
		return err
	}
	return syscall.Exec(node, append([]string{node, script}, os.Args[1:]...), os.Environ())
}

func findProvider(node string) (string, error) {
	directory, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if path := providerAbove(directory); path != "" {
		return path, nil
	}
	return askNode(node)
}

// providerAbove follows Node.js's own rule for the common case: node_modules here, then in every parent.
func providerAbove(directory string) string {
	for {
		path := filepath.Join(directory, "node_modules", filepath.FromSlash(provider))
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return path
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return ""
		}
		directory = parent
	}
}

// askNode covers the other layouts (NODE_PATH, Plug'n'Play) at the price of one more start of Node.js.
func askNode(node string) (string, error) {
	answer, err := exec.Command(node, "-p", "require.resolve('"+provider+"')").Output()
	if err != nil {
		return "", errors.New("the package @pulumi/pulumi is not installed here; run `pulumi install` first")
	}
	return strings.TrimSpace(string(answer)), nil
}
