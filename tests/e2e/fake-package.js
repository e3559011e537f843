// Stands in for the package (dist/index.js) where a test is about the demo page itself: what it shows while a model loads, and
// of each error. What happens is told by `globalThis.fake`, which the test sets before the page runs; fields may change later.
//
//   problems, failure, warnings   errors as { code, message }: what availability finds, how load fails, what it warns of
//   refusal                       how a question fails
//   answer                        what the model says
//   sure                          the probability of every second word; the others are certain
//   hold                          "download", "compile" or "answer": stays there until fake.release()

const fake = (globalThis.fake ??= {});
fake.loads = 0;

export const DEFAULT_MODEL = "llava-web:default";
const BYTES = 6_000_000;

export class LlavaError extends Error {
  constructor({ code, message }) {
    super(message);
    this.name = code === "aborted" ? "AbortError" : "LlavaError";
    this.code = code;
  }
}

/** Waits where the test asked for it; until released, or stopped. */
function station(name, signal) {
  return new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(new LlavaError({ code: "aborted", message: "stopped" })));
    if (fake.hold === name) fake.release = resolve;
    else resolve();
  });
}

export async function availability() {
  const problems = (fake.problems ?? []).map((problem) => new LlavaError(problem));
  return { available: problems.length === 0, problems, name: "llava-sketches", bytes_to_download: BYTES, stored_bytes: 0, memory: { total: 8e6 }, context_length: 512 };
}

export async function load(url, { signal, onProgress, onWarning }) {
  fake.loads++;
  onProgress({ phase: "start", loaded: 0, total: 0, from_cache: 0 });
  if (fake.failure) throw new LlavaError(fake.failure);
  onProgress({ phase: "download", loaded: BYTES / 3, total: BYTES, from_cache: 0 });
  await station("download", signal);
  for (const warning of fake.warnings ?? []) onWarning(new LlavaError(warning));
  onProgress({ phase: "compile", loaded: BYTES, total: BYTES, from_cache: 0 });
  await station("compile", signal);
  const model = {
    ended: false,
    info: { model: "llava-sketches", quantization: "q8", context_length: 512, load_ms: 1000, adapter: "fake" },
    dispose: () => (model.ended = true),
    stream,
  };
  return model;
}

function stream(image, prompt, { signal, onToken }) {
  fake.asked = { image, prompt };
  const words = (fake.answer ?? "a red circle and a blue star").split(/(?<= )/);
  let finish, fail;
  const result = new Promise((resolve, reject) => ([finish, fail] = [resolve, reject]));
  result.catch(() => undefined);
  return {
    result,
    async *[Symbol.asyncIterator]() {
      try {
        if (fake.refusal) throw new LlavaError(fake.refusal);
        for (const [index, word] of words.entries()) {
          if (index === 2) await station("answer", signal);
          onToken(word, index + 1);
          yield word;
        }
      } catch (error) {
        fail(error);
        throw error;
      }
      finish({ token_ids: words, token_logprobs: words.map((_, index) => Math.log(fake.sure ?? 0.5) * (index % 2)), finish_reason: "stop", timings: { tokens_per_second: 50 } });
    },
  };
}

export const models = { list: async () => fake.stored ?? [], delete: async () => (fake.stored = []) };
