// Keeps a copy of a table of orders, in Express: rows and checkpoint share one transaction.
// SERVICE_KEY=secret PORT=8000 node service.mjs serves it.

import { createHash, timingSafeEqual } from "node:crypto";
import { rmSync } from "node:fs";
import express from "express";
import sqlite from "node-sqlite3-wasm";

const { SERVICE_KEY: KEY, SERVICE_DATABASE: DATABASE = "service.db", PORT = "8000" } = process.env;
if (!KEY) throw new Error("SERVICE_KEY is missing: set it to the key the agent sends");

const EVENT = {
  type: "object",
  properties: {
    id: { type: "integer" },
    name: { type: ["string", "null"] },
    price: { type: ["number", "null"] },
    // JSON.parse rounds integers beyond 2^53. Asked for as text, they come with all their digits.
    reference: { type: ["string", "null"], format: "int64" },
    index: { type: "integer" },
    _deleted: { type: "boolean" },
  },
  required: ["id"], // the mark of a row that is gone carries its key alone
  "x-fuagent-delete-field": "_deleted",
};
const BODY = { type: "object", properties: { events: { type: "array", items: EVENT } } };
const DOCUMENT = {
  openapi: "3.1.0",
  info: { title: "Copy of orders", version: "1" },
  servers: [{ url: "/", "x-fuagent-status-endpoint": "/fuagent-sync-status" }],
  security: [{ key: [] }, { bearer: [] }],
  components: {
    securitySchemes: {
      key: { type: "apiKey", in: "header", name: "x-api-key" },
      bearer: { type: "http", scheme: "bearer" },
    },
  },
  paths: {
    "/ingest-batch": {
      post: {
        requestBody: { content: { "application/json": { schema: BODY } } },
        responses: { 200: { description: "stored" } },
      },
    },
    "/fuagent-sync-status": { get: { responses: { 200: { description: "the largest index stored" } } } },
  },
};

const isText = (value) => value === null || typeof value === "string";
const isReal = (value) => value === null || typeof value === "number";
const isLong = (value) =>
  value === null ||
  (typeof value === "string" && /^-?\d{1,19}$/.test(value) && BigInt.asIntN(64, BigInt(value)) === BigInt(value));

// A row without a column would erase what stands there, so only the mark of a row that is gone may be short.
const fitsRow = (event) =>
  event !== null &&
  typeof event === "object" &&
  Number.isSafeInteger(event.id) &&
  (event.index === undefined || Number.isSafeInteger(event.index)) &&
  (event._deleted === true || (isText(event.name) && isReal(event.price) && isLong(event.reference)));

const fits = (batch) =>
  typeof batch?.agent_id === "string" &&
  typeof batch.task_id === "string" &&
  typeof batch.snapshot_sync_suggested === "boolean" &&
  Array.isArray(batch.events) &&
  batch.events.every(fitsRow);

let database;

function open() {
  // The driver locks with a folder, which stays where the process was killed. The port is ours by now, so no
  // other process of this service writes; SQLite then takes back what was half written.
  rmSync(`${DATABASE}.lock`, { recursive: true, force: true });
  database = new sqlite.Database(DATABASE);
  database.exec(
    "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, name TEXT, price REAL, reference INTEGER);" +
      "CREATE TABLE IF NOT EXISTS checkpoints " +
      "(agent_id TEXT, task_id TEXT, last_index INTEGER, PRIMARY KEY (agent_id, task_id))",
  );
}

function checkpoint(agentId, taskId) {
  const question = "SELECT last_index FROM checkpoints WHERE agent_id = ? AND task_id = ?";
  return database.get(question, [agentId, taskId])?.last_index ?? 0;
}

// Applies a batch and its checkpoint together; what was applied before is not applied again. There is no `await`
// in here, so no other request comes between BEGIN and COMMIT.
function store(batch) {
  // The driver ends a text at its first NUL; bytes it takes as they are.
  const upsert = "INSERT OR REPLACE INTO orders VALUES (?, CAST(? AS TEXT), ?, ?)";
  database.exec("BEGIN IMMEDIATE");
  try {
    const reached = checkpoint(batch.agent_id, batch.task_id);
    let highest = reached;
    for (const { id, name, price, reference, index, _deleted: deleted } of batch.events) {
      // A replay would take the row back to an older version. Rows of a snapshot carry no index.
      if (index !== undefined && index <= reached) continue;
      highest = Math.max(highest, index ?? 0);
      if (deleted === true) database.run("DELETE FROM orders WHERE id = ?", [id]);
      else database.run(upsert, [id, name && Buffer.from(name), price, reference && BigInt(reference)]);
    }
    if (highest > reached) {
      database.run("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", [batch.agent_id, batch.task_id, highest]);
    }
    database.exec("COMMIT");
  } finally {
    if (database.inTransaction) database.exec("ROLLBACK");
  }
}

const digest = (text) => createHash("sha256").update(text).digest(); // of one length, as timingSafeEqual asks

function authorised(request, response, next) {
  const [, token] = /^bearer (.*)$/i.exec(request.get("authorization") ?? "") ?? [];
  const given = request.get("x-api-key") ?? token ?? "";
  if (timingSafeEqual(digest(given), digest(KEY))) next();
  else response.status(401).json({ error: "wrong or missing key" });
}

const app = express();
app.disable("x-powered-by");
app.get("/openapi.json", (_request, response) => response.json(DOCUMENT));
app.use(authorised); // before the body is read
app.use(express.json({ limit: "16mb" })); // unpacks gzip, and counts the bytes that come out

app.post("/ingest-batch", (request, response) => {
  if (!fits(request.body)) return response.status(422).json({ error: "the body does not fit the schema" });
  store(request.body);
  return response.json({ snapshot_needed: request.body.snapshot_sync_suggested }); // accept whenever one is suggested
});

app.get("/fuagent-sync-status", (request, response) => {
  const index = checkpoint(String(request.query.agent_id), String(request.query.task_id));
  if (index) response.json({ index });
  else response.status(404).json({ error: "no checkpoint yet" });
});

app.use((_request, response) => response.status(404).json({ error: "nothing here" }));
// Four arguments make it the one for errors. Express's own is a page, and says too much.
app.use((error, _request, response, _next) => {
  const status = error.status ?? 500; // without a status it is ours: nothing was stored, and the agent comes again
  if (status >= 500) console.error(error.message);
  response.status(status).json({ error: status < 500 ? `the request is refused: ${error.type ?? "malformed"}` : "not stored" });
});

app.listen(Number(PORT), "127.0.0.1", (error) => {
  if (error) throw error;
  open();
  console.log(`http://127.0.0.1:${PORT}`);
});
