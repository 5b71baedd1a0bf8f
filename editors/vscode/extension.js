"use strict";
// The client of `modelkit lsp`: finds the program, starts it, and says what to do where there is none.

const fs = require("fs");
const os = require("os");
const path = require("path");
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

/** @type {LanguageClient | undefined} */
let client;
/** Starts and stops one after another: two of them at once would leave two servers. */
let turn = Promise.resolve();

function activate(context) {
  const restart = () => (turn = turn.then(stop).then(start));
  context.subscriptions.push(
    vscode.commands.registerCommand("modelkit.restart", restart),
    vscode.workspace.onDidGrantWorkspaceTrust(restart),
    vscode.workspace.onDidChangeConfiguration((change) => change.affectsConfiguration("modelkit.path") && restart()),
  );
  return restart();
}

function deactivate() {
  return (turn = turn.then(stop));
}

async function start() {
  // The program comes from the workspace or its settings: starting it is running the workspace's code.
  if (!vscode.workspace.isTrusted) return;
  const folder = (vscode.workspace.workspaceFolders || []).find((one) => one.uri.scheme === "file");
  const command = program();
  if (!isThere(command)) return void complain(command, "there is no such program");
  const server = { command, args: ["lsp"], options: { cwd: folder && folder.uri.fsPath } };
  const started = new LanguageClient("modelkit", "modelkit", server, {
    documentSelector: ["file", "untitled"].map((scheme) => ({ scheme, language: "modelfile" })),
    initializationFailedHandler: () => false,
  });
  try {
    await started.start();
    client = started;
  } catch (error) {
    await discard(started);
    void complain(command, error instanceof Error ? error.message : String(error));
  }
}

async function stop() {
  const stopped = client;
  client = undefined;
  if (stopped) await discard(stopped);
}

/** A server that is dead already cannot be asked to stop; there is nothing left to do then. */
async function discard(used) {
  await used.dispose().catch(() => undefined);
}

/** The setting's program; else the first virtual environment's in the workspace; else what the PATH has. */
function program() {
  const said = vscode.workspace.getConfiguration("modelkit").get("path", "").trim();
  const folders = (vscode.workspace.workspaceFolders || []).map((folder) => folder.uri.fsPath);
  if (said) {
    const whole = said.replace(/^~(?=[\\/])/, os.homedir()).replace("${workspaceFolder}", folders[0] || "");
    return /[\\/]/.test(whole) && !path.isAbsolute(whole) && folders[0] ? path.join(folders[0], whole) : whole;
  }
  const places = process.platform === "win32" ? ["Scripts", "modelkit.exe"] : ["bin", "modelkit"];
  const found = folders
    .flatMap((folder) => [".venv", "venv"].map((environment) => path.join(folder, environment, ...places)))
    .find((file) => fs.existsSync(file));
  return found || "modelkit";
}

/** Whether it can be found: a path by itself, a name by the PATH. */
function isThere(command) {
  if (/[\\/]/.test(command)) return fs.existsSync(command);
  const suffixes = process.platform === "win32" ? ["", ".exe", ".cmd", ".bat"] : [""];
  const folders = (process.env.PATH || "").split(path.delimiter);
  return folders.some((folder) => suffixes.some((suffix) => fs.existsSync(path.join(folder, command + suffix))));
}

async function complain(command, reason) {
  const settings = "Open Settings";
  const choice = await vscode.window.showErrorMessage(
    `\`${command} lsp\` did not start: ${reason}. ` +
      "Install it with `pip install 'modelkit-llm[lsp]'`, or set `modelkit.path`.",
    settings,
  );
  if (choice === settings) await vscode.commands.executeCommand("workbench.action.openSettings", "modelkit.path");
}

module.exports = { activate, deactivate };
