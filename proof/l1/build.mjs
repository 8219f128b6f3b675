// Compiles the contracts with the pinned solc and writes artifacts/*.json.
//
//   node proof/l1/build.mjs --install   puts the tools of package-lock.json into .tools/l1
//   node proof/l1/build.mjs             compiles and writes
//   node proof/l1/build.mjs --check     compiles and fails when a committed artifact is stale
//
// solc is the JavaScript build from npm: it needs no network and gives the same bytes on every machine.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const tools = path.resolve(here, "../../.tools/l1");
const artifacts = path.join(here, "artifacts");
const modes = process.argv.slice(2);

function fail(text) {
  console.error(text);
  process.exit(1);
}

function install() {
  fs.mkdirSync(tools, { recursive: true });
  for (const f of ["package.json", "package-lock.json"]) fs.copyFileSync(path.join(here, f), path.join(tools, f));
  // Install scripts stay off: neither tool needs one, and none should run on a developer's machine.
  const args = ["ci", "--prefix", tools, "--ignore-scripts", "--no-audit", "--no-fund"];
  try {
    execFileSync("npm", args, { cwd: tools, stdio: "inherit" });
  } catch (e) {
    fail(`npm could not install the tools of package-lock.json: ${e.message}`);
  }
}

function loadSolc() {
  const wanted = JSON.parse(fs.readFileSync(path.join(here, "package.json"))).dependencies.solc;
  let solc;
  try {
    solc = createRequire(path.join(tools, "package.json"))("solc");
  } catch {
    fail("solc is not installed: run `node proof/l1/build.mjs --install`");
  }
  if (!solc.version().startsWith(wanted + "+")) fail(`solc ${solc.version()} is installed, ${wanted} is wanted`);
  return solc;
}

function sourceNames(folder = "contracts") {
  return fs.readdirSync(path.join(here, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((e) => e.isDirectory() ? sourceNames(`${folder}/${e.name}`) : e.name.endsWith(".sol") ? [`${folder}/${e.name}`] : []);
}

function compile(solc) {
  const sources = {};
  for (const name of sourceNames()) sources[name] = { content: fs.readFileSync(path.join(here, name), "utf8") };
  const settings = {
    evmVersion: "cancun", // transient storage; every chain that we may meet has it
    viaIR: true,
    optimizer: { enabled: true, runs: 1000000 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  };
  const out = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
  const troubles = out.errors ?? [];
  for (const e of troubles) console.error(e.formattedMessage);
  if (troubles.length > 0) fail("the contracts do not compile without a warning");
  return out.contracts;
}

// File name -> text of every artifact: the contracts that can be deployed; those of contracts/test apart.
function render(solc) {
  const files = new Map();
  for (const [source, contracts] of Object.entries(compile(solc))) {
    for (const [contractName, c] of Object.entries(contracts)) {
      const code = c.evm.bytecode.object;
      const isLibrary = c.abi.every((x) => x.type === "error");
      if (code === "" || isLibrary) continue;
      const folder = source.startsWith("contracts/test/") ? "test/" : "";
      const artifact = {
        contractName, source, solc: solc.version(), abi: c.abi,
        bytecode: "0x" + code, deployedBytecode: "0x" + c.evm.deployedBytecode.object,
      };
      files.set(`${folder}${contractName}.json`, JSON.stringify(artifact, null, 1) + "\n");
    }
  }
  return files;
}

function committed() {
  const list = (dir) => (fs.existsSync(dir) ? fs.readdirSync(dir) : []).filter((f) => f.endsWith(".json"));
  return [...list(artifacts), ...list(path.join(artifacts, "test")).map((f) => `test/${f}`)];
}

function check(files) {
  const stale = committed().filter((f) => !files.has(f)).map((f) => `${f} belongs to no contract`);
  for (const [f, text] of files) {
    const at = path.join(artifacts, f);
    if (!fs.existsSync(at)) stale.push(`${f} is missing`);
    else if (fs.readFileSync(at, "utf8") !== text) stale.push(`${f} is stale`);
  }
  if (stale.length > 0) fail(stale.map((s) => `artifacts/${s}`).join("\n") + "\nrun `node proof/l1/build.mjs`");
  console.log(`${files.size} artifacts are fresh`);
}

function write(files) {
  fs.mkdirSync(path.join(artifacts, "test"), { recursive: true });
  for (const f of committed()) if (!files.has(f)) fs.rmSync(path.join(artifacts, f));
  for (const [f, text] of files) fs.writeFileSync(path.join(artifacts, f), text);
  console.log(`${files.size} artifacts written`);
}

const unknown = modes.filter((m) => m !== "--install" && m !== "--check");
if (unknown.length > 0) fail(`unknown argument ${unknown[0]}; known: --install, --check`);
if (modes.includes("--install")) install();
if (modes.includes("--check")) check(render(loadSolc()));
else if (!modes.includes("--install")) write(render(loadSolc()));
