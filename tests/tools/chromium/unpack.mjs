// Usage: node unpack.mjs   Unpacks Chromium into node_modules/.browser, with libraries and a font.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("node_modules/.browser", import.meta.url));
process.env.TMPDIR = folder; // where the package unpacks
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x"; // with the libraries
mkdirSync(folder, { recursive: true });
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();
const fonts = `${folder}/fonts/fonts.conf`; // says where they would be on AWS
writeFileSync(fonts, readFileSync(fonts, "utf8").replaceAll("/tmp/fonts", `${folder}/fonts`));
