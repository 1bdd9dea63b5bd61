// A first program: two resources that live in the stack's state and nowhere else.
"use strict";

const pulumi = require("@pulumi/pulumi");

// Pretends to be a cloud: it may take its time, and what it makes can be changed in place.
const greetingProvider = {
    async create(inputs) {
        await new Promise((done) => setTimeout(done, inputs.seconds * 1000));
        return { id: "greeting", outs: { ...inputs, text: `Hello, ${inputs.name}!` } };
    },
    async update(id, olds, news) {
        return { outs: { ...news, text: `Hello, ${news.name}!` } };
    },
    async diff(id, olds, news) {
        return { changes: olds.name !== news.name };
    },
};

class Greeting extends pulumi.dynamic.Resource {
    constructor(resourceName, inputs) {
        super(greetingProvider, resourceName, { ...inputs, text: undefined });
    }
}

// Makes a password once; another size means another password, so a replacement.
const passwordProvider = {
    async create(inputs) {
        const { randomInt } = require("node:crypto");
        const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        const value = Array.from({ length: inputs.size }, () => letters[randomInt(letters.length)]).join("");
        return { id: "password", outs: { ...inputs, value } };
    },
    async diff(id, olds, news) {
        const changes = olds.size !== news.size;
        return { changes, replaces: changes ? ["size"] : [] };
    },
};

class Password extends pulumi.dynamic.Resource {
    constructor(resourceName, inputs) {
        const options = { additionalSecretOutputs: ["value"] };
        super(passwordProvider, resourceName, { ...inputs, value: undefined }, options);
    }
}

const config = new pulumi.Config();
const name = config.get("name") ?? "world";
const size = config.getNumber("size") ?? 16;
const seconds = config.getNumber("seconds") ?? 0;

const greeting = new Greeting("greeting", { name, seconds });
const password = config.getSecret("password") ?? new Password("password", { size }).value;

exports.greeting = greeting.text;
exports.password = password;
exports.size = pulumi.unsecret(password.apply((value) => value.length));
