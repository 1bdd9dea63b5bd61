// The launcher is installed as pulumi-language-python. The CLI no longer says which virtual environment a
// Python program wants, and the host built here only learns it from a flag; so the launcher reads it from the
// project file and becomes the host. It runs before every deployment: keep it small and without dependencies
// that do work at start.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"gopkg.in/yaml.v3"
)

const hostName = "pulumi-language-python-host"

// A program, a policy pack and a plugin written in Python all name their runtime in the same way. JSON is YAML.
var projectFiles = []string{
	"Pulumi.yaml", "Pulumi.yml", "Pulumi.json",
	"PulumiPolicy.yaml", "PulumiPolicy.yml",
	"PulumiPlugin.yaml", "PulumiPlugin.yml",
}

func main() {
	host, err := hostPath()
	if err == nil {
		arguments := append([]string{host}, environmentFlags(workingDirectory())...)
		err = syscall.Exec(host, append(arguments, os.Args[1:]...), os.Environ())
	}
	fmt.Fprintf(os.Stderr, "pulumi-language-python: cannot start %s: %v\n", hostName, err)
	os.Exit(1)
}

func hostPath() (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", err
	}
	executable, err = filepath.EvalSymlinks(executable)
	return filepath.Join(filepath.Dir(executable), hostName), err
}

func workingDirectory() string {
	directory, err := os.Getwd()
	if err != nil {
		return "."
	}
	return directory
}

// environmentFlags are empty when there is no project file or it names no environment: the host then uses
// the Python on PATH, as it would have without us.
func environmentFlags(from string) []string {
	path := projectFileAbove(from)
	virtualenv := virtualenvIn(path)
	if virtualenv == "" {
		return nil
	}
	return []string{"-root=" + filepath.Dir(path), "-virtualenv=" + virtualenv}
}

func projectFileAbove(directory string) string {
	for {
		for _, name := range projectFiles {
			path := filepath.Join(directory, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path
			}
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return ""
		}
		directory = parent
	}
}

// virtualenvIn gives up silently on a file it cannot read: the CLI has read it already and says what is wrong.
func virtualenvIn(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var project struct {
		Runtime yaml.Node `yaml:"runtime"`
	}
	if yaml.Unmarshal(content, &project) != nil || project.Runtime.Kind != yaml.MappingNode {
		return "" // the short form, "runtime: python", has no options
	}
	var runtime struct {
		Options struct {
			Virtualenv string `yaml:"virtualenv"`
		} `yaml:"options"`
	}
	if project.Runtime.Decode(&runtime) != nil {
		return ""
	}
	return runtime.Options.Virtualenv
}
