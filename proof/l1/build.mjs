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
import { words } from "./poseidon.mjs";

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

// Poseidon's constants as the code of two contracts: one would be above the limit of 24 kB. The first byte stops
// whoever calls them.
function poseidonTables() {
  const all = [...words(17), ...words(5)];
  const half = all.length / 2;
  const { keccak256 } = createRequire(path.join(tools, "package.json"))("js-sha3");
  const hex = (w) => w.toString(16).padStart(64, "0");
  const hash = (part) => "0x" + keccak256(Buffer.from("00" + part.map(hex).join(""), "hex"));
  const table = (name, part) => `/// @dev Data, made by poseidon.mjs.
contract ${name} {
    constructor() {
        bytes memory code =
            hex"00"
${part.map((w) => `            hex"${hex(w)}"`).join("\n")};
        assembly { return(add(code, 0x20), mload(code)) }
    }
}`;
  return `// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Hashes of the code of the two contracts.
library PoseidonTables {
    bytes32 internal constant HASH_A = ${hash(all.slice(0, half))};
    bytes32 internal constant HASH_B = ${hash(all.slice(half))};
}

${table("PoseidonTableA", all.slice(0, half))}

${table("PoseidonTableB", all.slice(half))}
`;
}

// What a source imports from the packages of package-lock.json.
function imported(name) {
  const at = path.join(tools, "node_modules", name);
  return fs.existsSync(at) ? { contents: fs.readFileSync(at, "utf8") } : { error: `${name} is not installed` };
}

function compile(solc) {
  const sources = {};
  for (const name of sourceNames()) sources[name] = { content: fs.readFileSync(path.join(here, name), "utf8") };
  sources["contracts/PoseidonTables.sol"] = { content: poseidonTables() };
  // The settlement contract stands close below the limit of 24 kB; all else may trade size for gas.
  const isLarge = (name) => name === "contracts/Settlement.sol";
  const all = Object.keys(sources);
  return { ...compileFor(solc, sources, all.filter(isLarge), 200),
    ...compileFor(solc, sources, all.filter((name) => !isLarge(name)), 1000000) };
}

function compileFor(solc, sources, names, runs) {
  const wanted = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"];
  const settings = {
    evmVersion: "cancun", // transient storage; every chain that we may meet has it
    viaIR: true,
    optimizer: { enabled: true, runs },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: Object.fromEntries(names.map((name) => [name, { "*": wanted }])),
  };
  const out = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings }), { import: imported }));
  // Packages are taken as they are; a warning in one of them is not ours to mend.
  const troubles = (out.errors ?? []).filter((e) => e.severity === "error" || !e.sourceLocation?.file.startsWith("@"));
  for (const e of troubles) console.error(e.formattedMessage);
  if (troubles.length > 0) fail("the contracts do not compile without a warning");
  return Object.fromEntries(Object.entries(out.contracts).filter(([name]) => names.includes(name)));
}

// File name -> text of every artifact: the contracts that can be deployed; those of contracts/test apart.
function render(solc) {
  const files = new Map();
  for (const [source, contracts] of Object.entries(compile(solc))) {
    for (const [contractName, c] of Object.entries(contracts)) {
      const code = c.evm.bytecode.object;
      const isLibrary = c.abi.every((x) => x.type === "error");
      const isOurs = source.startsWith("contracts/");
      if (code === "" || isLibrary || !isOurs) continue;
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
