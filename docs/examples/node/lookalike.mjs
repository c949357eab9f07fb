// A connection to Lookalike: the address and the key, one deadline over all attempts, and errors that say what to do.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

// In a project of your own: a copy of the folder `proto` of the Lookalike release that you call.
const PROTO = process.env.LOOKALIKE_PROTO ?? fileURLToPath(new URL("../../../proto", import.meta.url));
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

const definition = protoLoader.loadSync(
  ["lookalike/v1/search_service.proto", "lookalike/v1/product_service.proto", "google/rpc/error_details.proto"],
  // Fields as the contract spells them, enums by name, int64 as numbers; `json` opens the details of errors.
  { includeDirs: [PROTO], keepCase: true, enums: String, longs: Number, defaults: true, oneofs: true, json: true },
);
const { SearchService, ProductService } = grpc.loadPackageDefinition(definition).lookalike.v1;

/** What a call ended in. `reason` is the word to act on (FILTER_MALFORMED, ...), "" when no server answered. */
export class LookalikeError extends Error {
  constructor({ code, message, details }) {
    super(message);
    this.code = grpc.status[code] ?? String(code);
    const find = (type) => details.find((detail) => detail["@type"].endsWith(`/google.rpc.${type}`));
    const delay = find("RetryInfo")?.retry_delay;
    this.reason = find("ErrorInfo")?.reason ?? "";
    this.metadata = find("ErrorInfo")?.metadata ?? {};
    this.fields = (find("BadRequest")?.field_violations ?? []).map((violation) => violation.field);
    this.retryAfterMs = delay ? delay.seconds * 1000 + delay.nanos / 1e6 : undefined;
  }

  /** From a google.rpc.Status, such as `error` in the answers of an import. */
  static fromStatus(status) {
    return new LookalikeError(status);
  }

  /** From what grpc-js hands over. The google.rpc.Status is in the trailing metadata, unless a proxy spoke. */
  static fromCall(error) {
    const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
    const status = packed && definition["google.rpc.Status"].deserialize(packed);
    return status?.code === error.code
      ? new LookalikeError(status)
      : new LookalikeError({ code: error.code, message: error.details, details: [] });
  }
}

/** How long to wait after so many failed attempts; undefined when trying again is no use. */
function delayMs(error, attempts) {
  // CANCELLED: by a server that shuts down, of a call that it has not taken yet; nothing here cancels calls.
  const passing = error.code === "UNAVAILABLE" || error.code === "CANCELLED";
  const later = error.code === "RESOURCE_EXHAUSTED" && error.retryAfterMs !== undefined;
  if (!passing && !later) return undefined;
  const backoff = Math.min(100 * 2 ** (attempts - 1), 2000);
  return (error.retryAfterMs ?? 0) + backoff * (0.5 + Math.random() / 2);
}

export class Lookalike {
  /** `caFile` encrypts the connection; keep one client per process. */
  constructor(address = "127.0.0.1:50051", { apiKey, caFile, timeoutMs = 30_000 } = {}) {
    const credentials = caFile
      ? grpc.credentials.createSsl(readFileSync(caFile))
      : grpc.credentials.createInsecure();
    const options = { "grpc.max_receive_message_length": MAX_MESSAGE_BYTES, "grpc.keepalive_time_ms": 60_000 };
    this.searches = new SearchService(address, credentials, options);
    this.products = new ProductService(address, credentials, options);
    this.metadata = new grpc.Metadata();
    if (apiKey) this.metadata.set("x-api-key", apiKey);
    this.timeoutMs = timeoutMs;
  }

  close() {
    this.searches.close();
    this.products.close();
  }

  /** One call with its retries, all of them within `timeoutMs`: `call("SearchProducts", { image })`. */
  async call(method, request, { timeoutMs = this.timeoutMs } = {}) {
    const deadline = Date.now() + timeoutMs;
    const client = method in this.searches ? this.searches : this.products;
    for (let attempts = 1; ; attempts++) {
      try {
        return await new Promise((resolve, reject) => {
          client[method](request, this.metadata, { deadline }, (error, answer) =>
            error ? reject(LookalikeError.fromCall(error)) : resolve(answer),
          );
        });
      } catch (error) {
        const delay = delayMs(error, attempts);
        if (delay === undefined || Date.now() + delay >= deadline) throw error;
        await sleep(delay);
      }
    }
  }

  /** Import an iterable of products; yields one answer per product, in order. Send all again when it was cut. */
  async *importProducts(products) {
    const call = this.products.ImportProducts(this.metadata);
    const send = async () => {
      for await (const product of products) {
        // `write` says false when the server is busy: it holds the sender back.
        if (!call.write({ product })) await new Promise((resolve) => call.once("drain", resolve));
      }
      call.end();
    };
    const sending = send().catch((error) => call.destroy(error));
    try {
      for await (const answer of call) yield answer;
      await sending;
    } catch (error) {
      throw error.metadata ? LookalikeError.fromCall(error) : error;
    } finally {
      call.cancel();
    }
  }
}

/** The connection that the environment names, as the command `lookalike` has it. */
export function fromEnvironment() {
  return new Lookalike(process.env.LOOKALIKE_SERVER || undefined, {
    apiKey: process.env.LOOKALIKE_API_KEY,
    caFile: process.env.LOOKALIKE_CA_FILE,
  });
}

/** Run a program with its arguments, at least `least` of them; an error becomes a sentence, and the exit code 1. */
export async function run(usage, least, program) {
  const given = process.argv.slice(2);
  const client = fromEnvironment();
  try {
    if (given.length < least) throw new Error(`usage: node ${usage}`);
    await program(client, given);
  } catch (error) {
    const refused = error instanceof LookalikeError;
    const fields = refused && error.fields.length ? ` (field ${error.fields.join(", ")})` : "";
    console.error(refused ? `${error.reason || error.code}: ${error.message}${fields}` : error.message);
    process.exitCode = 1;
  } finally {
    client.close();
  }
}
