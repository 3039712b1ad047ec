// Refreshes openapi.json, from which the client is generated, by asking the api's package; needs no store.
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";

const venv = new URL("../../.venv/bin/python", import.meta.url).pathname;
const python = process.env.PYTHON ?? (existsSync(venv) ? venv : "python3");
const text = execFileSync(python, ["-m", "kirby_api.openapi"], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
writeFileSync(new URL("../openapi.json", import.meta.url), text);
