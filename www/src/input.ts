import { LlavaError } from "./errors.js";
import type { ImageInput } from "./image.js";

/** A part of a message: text, or the place of the picture, which travels in `image`. */
export type MessagePart = { type: "text"; text: string } | { type: "image" | "image_url" | "input_image" };

/** One turn of a conversation. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string | MessagePart[];
}

/** How the answer is generated. Names and defaults are the hosted model's; the last two are ours. */
export interface GenerateOptions {
  /** Most tokens to generate; 512 where absent. */
  max_tokens?: number;
  /** 0 to 5. Absent or 0: always the likeliest token (greedy). */
  temperature?: number;
  /** 0 to 1. Draw only from the likeliest tokens whose probabilities add up to this. */
  top_p?: number;
  /** Draw only from this many of the likeliest tokens; 0 is all of them. */
  top_k?: number;
  /** The same seed gives the same text. */
  seed?: number;
  /** Above 0, up to 2. Makes tokens of the prompt and the answer less likely to come again; 1 is off. */
  repetition_penalty?: number;
  /** -2 to 2. Subtracted from a token's score for each time it was generated. */
  frequency_penalty?: number;
  /** -2 to 2. Subtracted once from the score of every token that was generated. */
  presence_penalty?: number;
  /** Take the prompt as it stands, `<image>` included, without LLaVA's `USER: ... ASSISTANT:` around it. */
  raw?: boolean;
  /** `pad` keeps the whole picture, `crop` its middle square; absent, the model's own way. */
  image_aspect_ratio?: "pad" | "crop";
  /** Texts that end the answer; they are not part of it. */
  stop?: string | string[];
}

/** The hosted model's input. */
export interface Input extends GenerateOptions {
  /** The picture. Required, but for a `raw` prompt without `<image>`, for `messages`, and for a model that sees none. */
  image?: ImageInput;
  /** The question; "What is in this picture?" where absent. */
  prompt?: string;
  /** A conversation, instead of `prompt`. */
  messages?: Message[];
}

/** What the engine is given: everything but the picture, checked, with defaults filled in. */
export type EngineInput = Omit<Input, "image" | "stop"> & { max_tokens: number; stop: string[] };

type Check = (field: string, value: unknown) => void;

const FIELDS: Record<keyof Input, Check> = {
  image: () => undefined, // image.ts checks it while reading it
  prompt: text,
  messages: conversation,
  max_tokens: integer(1),
  temperature: range(0, 5),
  top_p: range(0, 1),
  top_k: integer(0),
  seed: integer(0),
  repetition_penalty: (field, value) => {
    range(0, 2)(field, value);
    if (value === 0) throw invalid(field, "must be above 0, up to 2; 1 switches it off");
  },
  frequency_penalty: range(-2, 2),
  presence_penalty: range(-2, 2),
  raw: (field, value) => {
    if (typeof value !== "boolean") throw wrongType(field, "true or false", value);
  },
  image_aspect_ratio: (field, value) => {
    if (value !== "pad" && value !== "crop") throw wrongType(field, '"pad" or "crop"', value);
  },
  stop: (field, value) => {
    const texts = Array.isArray(value) ? value : [value];
    if (!texts.every((item) => typeof item === "string" && item !== "")) {
      throw wrongType(field, "a text or a list of texts, none of them empty", value);
    }
  },
};

/**
 * Checks every field of `input` but the picture's contents. `sees`: whether the model takes pictures at all.
 *
 * @throws LlavaError `missing_input` or `invalid_input`, naming the field and what it may be.
 */
export function checkInput(input: Input, sees = true): EngineInput {
  if (typeof input !== "object" || input === null) {
    throw new LlavaError("invalid_input", `The input must be an object like { image, prompt }, but it is ${name(input)}.`);
  }
  const given: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(input)) {
    const check = FIELDS[field as keyof Input];
    if (!Object.hasOwn(FIELDS, field)) {
      throw new LlavaError("invalid_input", `\`${field}\` is not a field of the input. Known: ${Object.keys(FIELDS).join(", ")}.`);
    }
    if (value === undefined) continue;
    check(field, value);
    given[field] = value;
  }
  const { image, stop, ...rest } = given as Input;
  checkTogether(rest, image !== undefined || !sees);
  return { ...rest, max_tokens: rest.max_tokens ?? 512, stop: stop === undefined ? [] : [stop].flat() };
}

/** Rules between fields. */
function checkTogether({ prompt, messages, raw }: Input, pictured: boolean): void {
  if (messages !== undefined && prompt !== undefined) {
    throw invalid("messages", "and `prompt` exclude each other: leave one of them out");
  }
  if (messages !== undefined && raw) {
    throw invalid("raw", "goes with `prompt`, not with `messages`");
  }
  if (raw && prompt === undefined) {
    throw missing("prompt", "`raw` takes the prompt as it stands, so there must be one");
  }
  const needed = raw ? prompt?.includes("<image>") : messages === undefined;
  if (needed && !pictured) {
    throw missing("image", "give a picture: bytes, a File, a URL, an <img>, a canvas, ...");
  }
}

function text(field: string, value: unknown): void {
  if (typeof value !== "string") throw wrongType(field, "a text", value);
}

function range(low: number, high: number): Check {
  return (field, value) => {
    if (typeof value !== "number" || !(value >= low && value <= high)) {
      throw wrongType(field, `a number from ${low} to ${high}`, value);
    }
  };
}

function integer(low: number): Check {
  return (field, value) => {
    if (!Number.isSafeInteger(value) || (value as number) < low) {
      throw wrongType(field, `a whole number, ${low} or more`, value);
    }
  };
}

function conversation(field: string, value: unknown): void {
  if (!Array.isArray(value) || value.length === 0) {
    throw wrongType(field, "a list of { role, content } with at least one turn", value);
  }
  value.forEach((turn: unknown, index) => {
    const { role, content } = (turn ?? {}) as Partial<Message>;
    if (role !== "system" && role !== "user" && role !== "assistant") {
      throw wrongType(`${field}[${index}].role`, '"system", "user" or "assistant"', role);
    }
    const parts: unknown[] = Array.isArray(content) ? content : [{ type: "text", text: content }];
    if (!parts.every(isPart)) {
      throw wrongType(`${field}[${index}].content`, 'a text, or a list of { type: "text", text } and { type: "image" }', content);
    }
  });
}

function isPart(part: unknown): part is MessagePart {
  const { type, text } = (part ?? {}) as { type?: unknown; text?: unknown };
  return type === "text" ? typeof text === "string" : type === "image" || type === "image_url" || type === "input_image";
}

function missing(field: string, cure: string): LlavaError {
  return new LlavaError("missing_input", `\`${field}\` is missing: ${cure}.`);
}

function invalid(field: string, problem: string): LlavaError {
  return new LlavaError("invalid_input", `\`${field}\` ${problem}.`);
}

function wrongType(field: string, wanted: string, value: unknown): LlavaError {
  return invalid(field, `must be ${wanted}, but it is ${name(value)}`);
}

/** A value in a few words, for messages. */
function name(value: unknown): string {
  if (value === null || value === undefined || typeof value === "boolean" || typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  return `of type ${value.constructor?.name ?? typeof value}`;
}
