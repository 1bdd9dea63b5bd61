// Runs one scenario of the Automation API and prints what came of it as one line of JSON.
//
//     node driver.js SCENARIO < request.json
//
// The scenarios and their answers are those of main.go; automation_checks.py holds them all to the
// same expectations.
"use strict";

const auto = require("@pulumi/pulumi/automation");
const pulumi = require("@pulumi/pulumi");

const request = JSON.parse(require("fs").readFileSync(0, "utf8"));

class Thing extends pulumi.ComponentResource {
    constructor(name) {
        super("test:index:Thing", name);
        this.registerOutputs({});
    }
}

async function program() {
    const config = new pulumi.Config();
    new Thing("first");
    return { plain: config.get("plain"), hidden: config.getSecret("hidden") };
}

function inline(name, run = program) {
    return { stackName: `${request.user}/inline/${name}`, projectName: "inline", program: run };
}

/** The type of the error that a call ends with; "none" when it succeeds. */
async function errorOf(call) {
    try {
        await call();
    } catch (error) {
        for (const name of ["ConcurrentUpdateError", "StackNotFoundError", "StackAlreadyExistsError"]) {
            if (error instanceof auto[name]) {
                return { type: name, text: String(error) };
            }
        }
        return { type: "CommandError", text: String(error) };
    }
    return { type: "none", text: "" };
}

function outputsOf(outputs) {
    return Object.fromEntries(Object.entries(outputs).map(([k, v]) => [k, [v.value, v.secret]]));
}

/** Collects what a stack's operation reports while it runs. */
function watching() {
    const seen = { said: "", summaries: [] };
    return {
        seen,
        options: {
            onOutput: (text) => (seen.said += text),
            onEvent: (event) => event.summaryEvent && seen.summaries.push(event.summaryEvent.resourceChanges),
        },
    };
}

async function config() {
    const stack = await auto.LocalWorkspace.createStack(inline("config"));
    await stack.setConfig("plain", { value: "text" });
    await stack.setConfig("hidden", { value: "s3cret", secret: true });
    await stack.setConfig("nested.deep[0]", { value: "leaf" }, true);
    await stack.setAllConfig({ "list[0]": { value: "one" }, "list[1]": { value: "two", secret: true } }, true);
    const hidden = await stack.getConfig("hidden");
    const leaf = await stack.getConfig("nested.deep[0]", true);
    const all = await stack.getAllConfig();
    await stack.removeConfig("nested.deep", true);
    await stack.removeAllConfig(["list", "plain"]);
    const left = await stack.getAllConfig();
    await stack.setTag("owner", "ada");
    const tag = await stack.getTag("owner");
    const tags = await stack.listTags();
    await stack.removeTag("owner");
    const afterwards = await stack.listTags();
    const who = await stack.workspace.whoAmI();
    await stack.workspace.removeStack(stack.name);
    return {
        hidden: [hidden.value, hidden.secret === true],
        leaf: leaf.value,
        all: Object.keys(all).sort(),
        left: Object.keys(left).sort(),
        tag,
        project: tags["pulumi:project"],
        tagIsGone: !("owner" in afterwards),
        user: who.user,
        organizations: who.organizations,
        gone: await errorOf(() => auto.LocalWorkspace.selectStack(inline("config"))),
    };
}

async function local() {
    const created = await auto.LocalWorkspace.createStack(inline("dev"));
    const exists = await errorOf(() => auto.LocalWorkspace.createStack(inline("dev")));
    const stack = await auto.LocalWorkspace.createOrSelectStack(inline("dev"));
    await stack.setAllConfig({ plain: { value: "text" }, hidden: { value: "s3cret", secret: true } });
    const preview = await stack.preview();
    const { seen, options } = watching();
    const up = await stack.up({ ...options, message: "by a program" });
    const outputs = await stack.outputs();
    const refresh = await stack.refresh();
    const state = await stack.exportStack();
    await stack.importStack(state);
    const again = await stack.exportStack();
    const history = await stack.history(undefined, undefined, true);
    const page = await stack.history(1, 2);
    await stack.rename({ stackName: `${request.user}/inline/renamed` });
    const renamed = await auto.LocalWorkspace.selectStack(inline("renamed"));
    const stacks = (await renamed.workspace.listStacks()).map((each) => each.name);
    const destroy = await renamed.destroy({ remove: true });
    return {
        name: created.name,
        exists,
        preview: preview.changeSummary,
        up: [up.summary.kind, up.summary.result, up.summary.resourceChanges, up.summary.message],
        upOutputs: outputsOf(up.outputs),
        outputs: outputsOf(outputs),
        ...seen,
        refresh: refresh.summary.kind,
        stateIsTheSame: JSON.stringify(again.deployment.resources) === JSON.stringify(state.deployment.resources),
        history: history.map((each) => [each.version, each.kind, each.result]),
        historicalSecret: history[history.length - 1].config["inline:hidden"].value,
        page: page.map((each) => each.version),
        stacks,
        destroy: destroy.summary.resourceChanges,
    };
}

async function localProgram() {
    const args = { stackName: `${request.user}/local/dev`, workDir: request.directory };
    const stack = await auto.LocalWorkspace.createOrSelectStack(args, { envVars: { COLOUR: "red" } });
    const up = await stack.up();
    const destroy = await stack.destroy();
    await stack.workspace.removeStack(stack.name);
    return { outputs: outputsOf(up.outputs), destroy: destroy.summary.result };
}

async function conflict() {
    let release;
    const released = new Promise((resolve) => (release = resolve));
    let began;
    const started = new Promise((resolve) => (began = resolve));
    const stack = await auto.LocalWorkspace.createStack(
        inline("busy", async () => {
            began();
            await released;
        }),
    );
    const first = errorOf(() => stack.up());
    await started;
    const other = await auto.LocalWorkspace.selectStack(inline("busy"));
    const second = await errorOf(() => other.up());
    await stack.cancel();
    // The engine waits for its program, which shares this process.
    release();
    const cancelled = await first;
    const failing = await auto.LocalWorkspace.createStack(
        inline("failing", async () => {
            throw new Error("the inline program says no");
        }),
    );
    return {
        second,
        cancelled,
        afterwards: await errorOf(() => other.up()),
        failing: await errorOf(() => failing.up()),
        missing: await errorOf(() => auto.LocalWorkspace.selectStack(inline("nobody-made-it"))),
    };
}

function remote(name, more = {}, options = {}) {
    return [
        {
            stackName: `${request.user}/remote/${name}`,
            url: request.httpUrl,
            branch: "main",
            projectPath: "echo",
            auth: { username: request.gitUser, password: request.gitPassword },
            ...more,
        },
        { skipInstallDependencies: true, ...options },
    ];
}

async function remoteLifecycle() {
    const options = {
        envVars: { REGION: "eu-west-1", KEY: { secret: "s3cret-key" } },
        preRunCommands: [request.prepare],
        executorImage: { image: "pulumi/pulumi:latest" },
    };
    const created = await auto.RemoteWorkspace.createStack(...remote("dev", {}, options));
    const exists = await errorOf(() => auto.RemoteWorkspace.createStack(...remote("dev")));
    const preview = await created.preview();
    const stack = await auto.RemoteWorkspace.selectStack(...remote("dev", {}, options));
    const { seen, options: watch } = watching();
    const up = await stack.up(watch);
    const outputs = await stack.outputs();
    const refresh = await stack.refresh();
    await stack.importStack(await stack.exportStack());
    const destroy = await stack.destroy();
    const history = await stack.history();
    const page = await stack.history(2, 2);
    return {
        exists,
        preview: preview.changeSummary,
        up: [up.summary.kind, up.summary.result],
        upOutputs: outputsOf(up.outputs),
        outputs: outputsOf(outputs),
        ...seen,
        refresh: refresh.summary.kind,
        destroy: destroy.summary.resourceChanges,
        history: history.map((each) => each.kind),
        page: page.map((each) => each.version),
    };
}

async function remoteInherited() {
    const key = { sshPrivateKeyPath: request.keyFile };
    const pinned = { url: request.sshUrl, branch: undefined, commitHash: request.commit, auth: key };
    const first = await auto.RemoteWorkspace.createOrSelectStack(...remote("kept", pinned));
    const own = await first.up();
    const nothing = { url: undefined, branch: undefined, projectPath: undefined, auth: undefined };
    const inheriting = { inheritSettings: true, skipInstallDependencies: false, envVars: { REGION: "overridden" } };
    const second = await auto.RemoteWorkspace.createOrSelectStack(...remote("kept", nothing, inheriting));
    const inherited = await second.up();
    return { own: outputsOf(own.outputs), inherited: outputsOf(inherited.outputs) };
}

async function remoteErrors() {
    const failing = await auto.RemoteWorkspace.createOrSelectStack(...remote("wrong", { projectPath: "failing" }));
    const image = { executorImage: { image: "ghcr.io/acme/runner:1" } };
    const foreign = await auto.RemoteWorkspace.selectStack(...remote("wrong", {}, image));
    return {
        up: await errorOf(() => failing.up()),
        missing: await errorOf(() => auto.RemoteWorkspace.selectStack(...remote("nobody-made-it"))),
        image: await errorOf(() => foreign.up()),
    };
}

async function remoteConflict() {
    const stack = await auto.RemoteWorkspace.createStack(...remote("busy", { projectPath: "hanging" }));
    let begun;
    const began = new Promise((resolve) => (begun = resolve));
    const first = errorOf(() => stack.up({ onEvent: begun }));
    await began;
    const here = await auto.LocalWorkspace.selectStack({ stackName: stack.name, projectName: "remote", program });
    const second = await errorOf(() => here.up());
    await stack.cancel();
    const cancelled = await first;
    return { second, cancelled, afterwards: await errorOf(() => here.up()) };
}

const SCENARIOS = {
    config,
    local,
    "local-program": localProgram,
    conflict,
    "remote-lifecycle": remoteLifecycle,
    "remote-inherited": remoteInherited,
    "remote-errors": remoteErrors,
    "remote-conflict": remoteConflict,
};

SCENARIOS[process.argv[2]]().then(
    (answer) => process.stdout.write(JSON.stringify(answer) + "\n", () => process.exit(0)),
    (error) => {
        console.error(error);
        process.exit(1);
    },
);
