// Solves the ALTCHA challenge of standard input as a frontend would, and prints the payload.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node.js 18 has it under another name than browsers
const { solveChallenge } = await import("altcha-lib/v1");

const { algorithm, challenge, maxnumber, salt, signature } = JSON.parse(readFileSync(0, "utf8"));
const { promise } = solveChallenge(challenge, salt, algorithm, maxnumber);
const { number } = await promise;
const payload = { algorithm, challenge, number, salt, signature };
process.stdout.write(Buffer.from(JSON.stringify(payload)).toString("base64"));
