// A first program: a component and one resource, which live in the stack's state and nowhere else.
package main

import (
	"crypto/rand"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
)

// Welcome greets somebody and keeps a random text for them. It is a component: a resource made of resources.
type Welcome struct {
	pulumi.ResourceState

	Greeting pulumi.StringOutput
	Random   pulumi.StringOutput
}

func NewWelcome(ctx *pulumi.Context, name, who string) (*Welcome, error) {
	welcome := &Welcome{}
	if err := ctx.RegisterComponentResource("hello:index:Welcome", name, welcome); err != nil {
		return nil, err
	}
	// Every run offers the stash a new text; it keeps the first.
	stash, err := pulumi.NewStash(ctx, name+"-random",
		&pulumi.StashArgs{Input: pulumi.ToSecret(pulumi.String(randomText()))},
		pulumi.Parent(welcome), pulumi.IgnoreChanges([]string{"input"}))
	if err != nil {
		return nil, err
	}
	welcome.Greeting = pulumi.Sprintf("Hello, %s!", who)
	welcome.Random = stash.Output.AsStringOutput()
	return welcome, ctx.RegisterResourceOutputs(welcome, pulumi.Map{"greeting": welcome.Greeting})
}

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		settings := config.New(ctx, "")
		welcome, err := NewWelcome(ctx, "welcome", orDefault(settings.Get("name"), "world"))
		if err != nil {
			return err
		}
		password := choosePassword(settings, welcome.Random)
		ctx.Export("greeting", welcome.Greeting)
		ctx.Export("password", password)
		ctx.Export("size", pulumi.Unsecret(password.ApplyT(func(value string) int { return len(value) })))
		return nil
	})
}

// choosePassword prefers the configured one; otherwise it is as much of the random text as asked for.
func choosePassword(settings *config.Config, random pulumi.StringOutput) pulumi.StringOutput {
	if configured, err := settings.TrySecret("password"); err == nil {
		return configured
	}
	size := orDefault(settings.GetInt("size"), 16)
	return random.ApplyT(func(text string) string { return text[:min(size, len(text))] }).(pulumi.StringOutput)
}

func randomText() string {
	return strings.ToLower(rand.Text() + rand.Text() + rand.Text())
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}
