// A receiver of alerts that verifies signatures (Standard Webhooks 1.0.0), with Node's own modules.
//
//     WEBHOOK_KEYS="whsec_… whpk_…" node receiver.mjs 8000
import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { createServer } from "node:http";

const TOLERANCE_S = 300;
const MOST_BYTES = 1_000_000;
const keys = process.env.WEBHOOK_KEYS.trim().split(/\s+/).map(parsed); // several while one is rotated
const seen = new Set(); // in earnest: in your database, and for two weeks

/** Tell whether one of our keys has signed these bytes, and just now. */
function isGenuine(headers, body) {
  const id = headers["webhook-id"];
  const sentAt = headers["webhook-timestamp"] ?? "";
  if (!id || !/^[0-9]{1,12}$/.test(sentAt)) return false;
  if (Math.abs(Date.now() / 1000 - Number(sentAt)) > TOLERANCE_S) return false;
  const signed = Buffer.concat([Buffer.from(`${id}.${sentAt}.`), body]);
  const signatures = (headers["webhook-signature"] ?? "").split(" ");
  return keys.some((key) => signatures.some((signature) => fits(key, signature, signed)));
}

function fits({ scheme, raw }, signature, signed) {
  const [version, value = ""] = signature.split(",");
  const given = Buffer.from(value, "base64");
  if (scheme === "whsec" && version === "v1") {
    const expected = createHmac("sha256", raw).update(signed).digest();
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
  if (scheme === "whpk" && version === "v1a") {
    const jwk = { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") };
    return verify(null, signed, createPublicKey({ key: jwk, format: "jwk" }), given);
  }
  return false;
}

function parsed(key) {
  const [scheme, encoded = ""] = key.split("_");
  const raw = Buffer.from(encoded, "base64");
  if ((scheme === "whsec" && raw.length >= 24) || (scheme === "whpk" && raw.length === 32)) {
    return { scheme, raw };
  }
  throw new Error("WEBHOOK_KEYS: expected whsec_… or whpk_…, whole");
}

async function statusOf(request) {
  if (request.method !== "POST") return 405;
  if (!(Number(request.headers["content-length"]) <= MOST_BYTES)) return 413;
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks); // these bytes are signed, not what JSON makes of them
  if (!isGenuine(request.headers, body)) return 401;
  const id = request.headers["webhook-id"];
  if (!seen.has(id)) {
    // At least once: another attempt has the same id.
    const event = JSON.parse(body);
    console.log(event.type, event.data.summary);
    seen.add(id);
  }
  return 204; // only now: whatever else is answered is tried again
}

createServer((request, response) => {
  statusOf(request).then(
    (status) => response.writeHead(status, { connection: "close" }).end(),
    () => response.writeHead(500).end(),
  );
}).listen(Number(process.argv[2]), "127.0.0.1");
