package main

import (
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optremoteup"
)

func repository(folder string) auto.GitRepo {
	return auto.GitRepo{
		URL:         request["httpUrl"],
		Branch:      "main",
		ProjectPath: folder,
		Auth:        &auto.GitAuth{Username: request["gitUser"], Password: request["gitPassword"]},
	}
}

func remoteName(name string) string {
	return nameOf("remote", name)
}

func remoteLifecycle() answer {
	options := []auto.RemoteWorkspaceOption{
		auto.RemoteSkipInstallDependencies(true),
		auto.RemoteEnvVars(map[string]auto.EnvVarValue{
			"REGION": {Value: "eu-west-1"},
			"KEY":    {Value: "s3cret-key", Secret: true},
		}),
		auto.RemotePreRunCommands(request["prepare"]),
		auto.RemoteExecutorImage(&auto.ExecutorImage{Image: "pulumi/pulumi:latest"}),
	}
	source := repository("echo")
	created := need(auto.NewRemoteStackGitSource(ctx, remoteName("dev"), source, options...))
	exists := errorOf(auto.NewRemoteStackGitSource(ctx, remoteName("dev"), source, options...))
	preview := need(created.Preview(ctx))
	stack := need(auto.SelectRemoteStackGitSource(ctx, remoteName("dev"), source, options...))
	channel := make(chan events.EngineEvent)
	summaries := summariesOf(channel)
	said := &strings.Builder{}
	up := need(stack.Up(ctx, optremoteup.ProgressStreams(said), optremoteup.EventStreams(channel)))
	outputs := need(stack.Outputs(ctx))
	refresh := need(stack.Refresh(ctx))
	must(stack.Import(ctx, need(stack.Export(ctx))))
	destroy := need(stack.Destroy(ctx))
	kinds := []string{}
	for _, each := range need(stack.History(ctx, 0, 0)) {
		kinds = append(kinds, each.Kind)
	}
	return answer{
		"exists":    exists,
		"preview":   preview.ChangeSummary,
		"up":        []any{up.Summary.Kind, up.Summary.Result},
		"upOutputs": outputsOf(up.Outputs),
		"outputs":   outputsOf(outputs),
		"said":      said.String(),
		"summaries": <-summaries,
		"refresh":   refresh.Summary.Kind,
		"destroy":   destroy.Summary.ResourceChanges,
		"history":   kinds,
		"page":      versions(need(stack.History(ctx, 2, 2))),
	}
}

func remoteInherited() answer {
	pinned := auto.GitRepo{
		URL:         request["sshUrl"],
		CommitHash:  request["commit"],
		ProjectPath: "echo",
		Auth:        &auto.GitAuth{SSHPrivateKeyPath: request["keyFile"]},
	}
	skipping := auto.RemoteSkipInstallDependencies(true)
	first := need(auto.UpsertRemoteStackGitSource(ctx, remoteName("kept"), pinned, skipping))
	own := need(first.Up(ctx))
	second := need(auto.UpsertRemoteStackGitSource(ctx, remoteName("kept"), auto.GitRepo{},
		auto.RemoteInheritSettings(true),
		auto.RemoteEnvVars(map[string]auto.EnvVarValue{"REGION": {Value: "overridden"}}),
	))
	inherited := need(second.Up(ctx))
	return answer{"own": outputsOf(own.Outputs), "inherited": outputsOf(inherited.Outputs)}
}

func remoteErrors() answer {
	failing := need(auto.UpsertRemoteStackGitSource(ctx, remoteName("wrong"), repository("failing"),
		auto.RemoteSkipInstallDependencies(true)))
	image := auto.RemoteExecutorImage(&auto.ExecutorImage{Image: "ghcr.io/acme/runner:1"})
	foreign := need(auto.SelectRemoteStackGitSource(ctx, remoteName("wrong"), repository("echo"), image))
	pool := auto.RemoteAgentPoolID("no-such-pool")
	elsewhere := need(auto.SelectRemoteStackGitSource(ctx, remoteName("wrong"), repository("echo"), pool))
	return answer{
		"pool":    errorOf(elsewhere.Up(ctx)),
		"up":      errorOf(failing.Up(ctx)),
		"missing": errorOf(auto.SelectRemoteStackGitSource(ctx, remoteName("nobody-made-it"), repository("echo"))),
		"image":   errorOf(foreign.Up(ctx)),
	}
}

func remoteConflict() answer {
	stack := need(auto.NewRemoteStackGitSource(ctx, remoteName("busy"), repository("hanging"),
		auto.RemoteSkipInstallDependencies(true)))
	channel, began := make(chan events.EngineEvent), make(chan struct{})
	first := make(chan answer, 1)
	go func() { first <- errorOf(stack.Up(ctx, optremoteup.EventStreams(channel))) }()
	go func() {
		var once sync.Once
		for range channel {
			once.Do(func() { close(began) })
		}
	}()
	<-began
	here := need(auto.SelectStackInlineSource(ctx, stack.Name(), "remote", program))
	second := errorOf(here.Up(ctx))
	must(stack.Cancel(ctx))
	cancelled := <-first
	return answer{"second": second, "cancelled": cancelled, "afterwards": errorOf(here.Up(ctx))}
}
