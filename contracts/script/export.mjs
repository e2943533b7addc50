// Writes build/contracts/NAME.json with nothing but {"abi": [...], "bytecode": "0x..."} (creation code; append the
// encoded arguments of the constructor) for whoever deploys without forge.
import { readFileSync, writeFileSync } from "node:fs";

const build = new URL("../../build/contracts/", import.meta.url);
for (const name of ["KMSRegistry", "NovaAppRegistry"]) {
	const { abi, bytecode } = JSON.parse(readFileSync(new URL(`out/${name}.sol/${name}.json`, build)));
	writeFileSync(new URL(`${name}.json`, build), `${JSON.stringify({ abi, bytecode: bytecode.object })}\n`);
}
