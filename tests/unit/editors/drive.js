"use strict";
// Runs the extension where `vscode` and the language client are stubs, does what the scenario says, and prints what
// was asked of them. Scenario: {extension, folders, trusted, path, broken, steps: ["trust" | "path" | "other" |
// "restart" | "deactivate"], next, choice}: `next` is the setting after "path", `choice` the button that is pressed.

const Module = require("module");

const scenario = JSON.parse(process.argv[2]);
const events = [];
const listeners = { trust: [], configuration: [] };
const commands = {};
const settings = { path: scenario.path };

class LanguageClient {
  constructor(id, name, server, options) {
    this.server = server;
    events.push(["client", server.command, ...server.args, server.options.cwd || null,
      options.documentSelector.map((one) => `${one.scheme}:${one.language}`).join(" ")]);
  }
  async start() {
    await null;
    if (scenario.broken) throw new Error("no pygls");
    events.push(["started"]);
  }
  async dispose() {
    await null;
    events.push(["disposed"]);
    if (scenario.broken) throw new Error("not running");
  }
}

const vscode = {
  workspace: {
    isTrusted: scenario.trusted,
    workspaceFolders: scenario.folders && scenario.folders.map((fsPath) => ({ uri: { scheme: "file", fsPath } })),
    getConfiguration: () => ({ get: (key, otherwise) => settings[key] || otherwise }),
    onDidGrantWorkspaceTrust: (listener) => listeners.trust.push(listener),
    onDidChangeConfiguration: (listener) => listeners.configuration.push(listener),
  },
  commands: {
    registerCommand: (name, run) => (commands[name] = run),
    executeCommand: async (...words) => events.push(["command", ...words]),
  },
  window: {
    showErrorMessage: async (text, ...choices) => (events.push(["error", text]), choices[scenario.choice]),
  },
};

const load = Module._load;
Module._load = (name, ...rest) =>
  name === "vscode" ? vscode : name === "vscode-languageclient/node" ? { LanguageClient } : load(name, ...rest);

const STEPS = {
  trust: () => ((vscode.workspace.isTrusted = true), listeners.trust.map((listener) => listener())),
  path: () => ((settings.path = scenario.next), changed("modelkit.path")),
  other: () => changed("editor.tabSize"),
  restart: () => [commands["modelkit.restart"]()],
};
const changed = (name) => listeners.configuration.map((one) => one({ affectsConfiguration: (key) => key === name }));

(async () => {
  const extension = require(scenario.extension);
  const context = { subscriptions: [] };
  const first = extension.activate(context);
  if (!scenario.hurry) await first;
  for (const step of scenario.steps || []) {
    const done = step === "deactivate" ? extension.deactivate() : Promise.all(STEPS[step]());
    if (!scenario.hurry) await done;
  }
  await extension.deactivate();
  console.log(JSON.stringify({ events, commands: Object.keys(commands), kept: context.subscriptions.length }));
})();
