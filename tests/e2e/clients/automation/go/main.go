// The Automation API driver in Go: runs one scenario and prints what came of it as one line of JSON.
//
//	driver SCENARIO < request.json
//
// The scenarios and their answers are those of driver.js; automation_checks.py holds them all to the
// same expectations.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/opthistory"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrename"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
)

type answer map[string]any

var (
	ctx     = context.Background()
	request map[string]string
)

func main() {
	must(json.NewDecoder(os.Stdin).Decode(&request))
	scenarios := map[string]func() answer{
		"config":           configScenario,
		"local":            local,
		"local-program":    localProgram,
		"conflict":         conflict,
		"remote-lifecycle": remoteLifecycle,
		"remote-inherited": remoteInherited,
		"remote-errors":    remoteErrors,
		"remote-conflict":  remoteConflict,
	}
	must(json.NewEncoder(os.Stdout).Encode(scenarios[os.Args[1]]()))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func need[T any](value T, err error) T {
	must(err)
	return value
}

// typed is an error as the SDK tells it apart.
func typed(err error) answer {
	name := "CommandError"
	switch {
	case err == nil:
		return answer{"type": "none", "text": ""}
	case auto.IsConcurrentUpdateError(err):
		name = "ConcurrentUpdateError"
	case auto.IsSelectStack404Error(err):
		name = "StackNotFoundError"
	case auto.IsCreateStack409Error(err):
		name = "StackAlreadyExistsError"
	}
	return answer{"type": name, "text": err.Error()}
}

func errorOf[T any](_ T, err error) answer {
	return typed(err)
}

func outputsOf(outputs auto.OutputMap) map[string][]any {
	shown := map[string][]any{}
	for name, output := range outputs {
		shown[name] = []any{output.Value, output.Secret}
	}
	return shown
}

func summariesOf(channel <-chan events.EngineEvent) <-chan []any {
	found := make(chan []any, 1)
	go func() {
		summaries := []any{}
		for event := range channel {
			if event.SummaryEvent != nil {
				summaries = append(summaries, event.SummaryEvent.ResourceChanges)
			}
		}
		found <- summaries
	}()
	return found
}

func keys[T any](values map[string]T) []string {
	found := []string{}
	for key := range values {
		found = append(found, key)
	}
	slices.Sort(found)
	return found
}

type thing struct{ pulumi.ResourceState }

func program(ctx *pulumi.Context) error {
	conf := config.New(ctx, "")
	if err := ctx.RegisterComponentResource("test:index:Thing", "first", &thing{}); err != nil {
		return err
	}
	ctx.Export("plain", pulumi.String(conf.Get("plain")))
	ctx.Export("hidden", conf.GetSecret("hidden"))
	return nil
}

func nameOf(project, name string) string {
	return fmt.Sprintf("%s/%s/%s", request["user"], project, name)
}

func create(name string, run pulumi.RunFunc) (auto.Stack, error) {
	return auto.NewStackInlineSource(ctx, nameOf("inline", name), "inline", run)
}

func selected(name string) (auto.Stack, error) {
	return auto.SelectStackInlineSource(ctx, nameOf("inline", name), "inline", program)
}

func configScenario() answer {
	stack := need(create("config", program))
	must(stack.SetConfig(ctx, "plain", auto.ConfigValue{Value: "text"}))
	must(stack.SetConfig(ctx, "hidden", auto.ConfigValue{Value: "s3cret", Secret: true}))
	path := &auto.ConfigOptions{Path: true}
	must(stack.SetConfigWithOptions(ctx, "nested.deep[0]", auto.ConfigValue{Value: "leaf"}, path))
	list := auto.ConfigMap{"list[0]": {Value: "one"}, "list[1]": {Value: "two", Secret: true}}
	must(stack.SetAllConfigWithOptions(ctx, list, path))
	hidden := need(stack.GetConfig(ctx, "hidden"))
	leaf := need(stack.GetConfigWithOptions(ctx, "nested.deep[0]", path))
	all := need(stack.GetAllConfig(ctx))
	must(stack.RemoveConfigWithOptions(ctx, "nested.deep", path))
	must(stack.RemoveAllConfig(ctx, []string{"list", "plain"}))
	left := need(stack.GetAllConfig(ctx))
	must(stack.SetTag(ctx, "owner", "ada"))
	tag := need(stack.GetTag(ctx, "owner"))
	tags := need(stack.ListTags(ctx))
	must(stack.RemoveTag(ctx, "owner"))
	_, tagStays := need(stack.ListTags(ctx))["owner"]
	who := need(stack.Workspace().WhoAmIDetails(ctx))
	must(stack.Workspace().RemoveStack(ctx, stack.Name()))
	return answer{
		"hidden":        []any{hidden.Value, hidden.Secret},
		"leaf":          leaf.Value,
		"all":           keys(all),
		"left":          keys(left),
		"tag":           tag,
		"project":       tags["pulumi:project"],
		"tagIsGone":     !tagStays,
		"user":          who.User,
		"organizations": who.Organizations,
		"gone":          errorOf(selected("config")),
	}
}

func local() answer {
	created := need(create("dev", program))
	exists := errorOf(create("dev", program))
	stack := need(auto.UpsertStackInlineSource(ctx, created.Name(), "inline", program))
	must(stack.SetAllConfig(ctx, auto.ConfigMap{
		"plain":  {Value: "text"},
		"hidden": {Value: "s3cret", Secret: true},
	}))
	preview := need(stack.Preview(ctx))
	channel := make(chan events.EngineEvent)
	summaries := summariesOf(channel)
	said := &strings.Builder{}
	up := need(stack.Up(ctx, optup.ProgressStreams(said), optup.EventStreams(channel), optup.Message("by a program")))
	// Go's SDK gives the message to the CLI with quotes around it.
	message := need(strconv.Unquote(up.Summary.Message))
	outputs := need(stack.Outputs(ctx))
	refresh := need(stack.Refresh(ctx))
	state := need(stack.Export(ctx))
	must(stack.Import(ctx, state))
	again := need(stack.Export(ctx))
	history := need(stack.History(ctx, 0, 0, opthistory.ShowSecrets(true)))
	page := need(stack.History(ctx, 1, 2))
	// Go's Rename ends by asking for the history of the old name, which no server has any more.
	if _, err := stack.Rename(ctx, optrename.StackName(nameOf("inline", "renamed"))); !auto.IsSelectStack404Error(errors.Unwrap(err)) {
		must(err)
	}
	renamed := need(selected("renamed"))
	names := []string{}
	for _, each := range need(renamed.Workspace().ListStacks(ctx)) {
		names = append(names, each.Name)
	}
	destroy := need(renamed.Destroy(ctx, optdestroy.Remove()))
	return answer{
		"exists":           exists,
		"preview":          preview.ChangeSummary,
		"up":               []any{up.Summary.Kind, up.Summary.Result, up.Summary.ResourceChanges, message},
		"upOutputs":        outputsOf(up.Outputs),
		"outputs":          outputsOf(outputs),
		"said":             said.String(),
		"summaries":        <-summaries,
		"refresh":          refresh.Summary.Kind,
		"stateIsTheSame":   reflect.DeepEqual(resources(state.Deployment), resources(again.Deployment)),
		"history":          rows(history),
		"historicalSecret": history[len(history)-1].Config["inline:hidden"].Value,
		"page":             versions(page),
		"stacks":           names,
		"destroy":          destroy.Summary.ResourceChanges,
	}
}

func resources(deployment json.RawMessage) any {
	var state struct {
		Resources []any `json:"resources"`
	}
	must(json.Unmarshal(deployment, &state))
	return state.Resources
}

func rows(history []auto.UpdateSummary) [][]any {
	found := [][]any{}
	for _, each := range history {
		found = append(found, []any{each.Version, each.Kind, each.Result})
	}
	return found
}

func versions(history []auto.UpdateSummary) []int {
	found := []int{}
	for _, each := range history {
		found = append(found, each.Version)
	}
	return found
}

func localProgram() answer {
	colour := auto.EnvVars(map[string]string{"COLOUR": "red"})
	stack := need(auto.UpsertStackLocalSource(ctx, nameOf("local", "dev"), request["directory"], colour))
	up := need(stack.Up(ctx))
	destroy := need(stack.Destroy(ctx))
	must(stack.Workspace().RemoveStack(ctx, stack.Name()))
	return answer{"outputs": outputsOf(up.Outputs), "destroy": destroy.Summary.Result}
}

func conflict() answer {
	started, released := make(chan struct{}), make(chan struct{})
	stack := need(create("busy", func(*pulumi.Context) error {
		close(started)
		<-released
		return nil
	}))
	first := make(chan answer, 1)
	go func() { first <- errorOf(stack.Up(ctx)) }()
	<-started
	other := need(selected("busy"))
	second := errorOf(other.Up(ctx))
	must(stack.Cancel(ctx))
	// The engine waits for its program, which in Go shares this process.
	close(released)
	cancelled := <-first
	failing := need(create("failing", func(*pulumi.Context) error {
		return errors.New("the inline program says no")
	}))
	return answer{
		"second":     second,
		"cancelled":  cancelled,
		"afterwards": errorOf(other.Up(ctx)),
		"failing":    errorOf(failing.Up(ctx)),
		"missing":    errorOf(selected("nobody-made-it")),
	}
}
