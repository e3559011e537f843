import { LlavaError } from "../basics/errors.js";
import { nameOf, shorten } from "../basics/naming.js";
import type { ImageInput } from "./image.js";
import { invalid, missing, wrongType } from "./invalid.js";
import { readConversation, type Conversation, type EngineMessage, type Message } from "./messages.js";
import { wellFormed } from "./well-formed.js";

export type { Message, MessagePart } from "./messages.js";

/** How the answer is generated. Names and defaults are the hosted model's; the last two are ours. */
export interface GenerateOptions {
  /** Most tokens to generate; 512 where absent. Where the context is full the answer ends before that. */
  max_tokens?: number;
  /** 0 to 5. Absent or 0: always the likeliest token (greedy). */
  temperature?: number;
  /** 0 to 1. Draw only from the likeliest tokens whose probabilities add up to this. */
  top_p?: number;
  /** Draw only from this many of the likeliest tokens; 0, or more than there are, is all of them. */
  top_k?: number;
  /** The same seed gives the same text; one is drawn where it is absent. A whole number from 0 to 2^53 - 1. */
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
  /** The question; "What is in this picture?" where absent or of white space only. */
  prompt?: string;
  /** A conversation, instead of `prompt`. One of its parts may hold the picture, instead of `image`. */
  messages?: Message[];
}

/** What the engine is given: everything but the picture, checked, in its own words, with defaults filled in. */
export interface EngineInput extends Omit<GenerateOptions, "stop"> {
  prompt?: string;
  messages?: EngineMessage[];
  max_tokens: number;
  stop: string[];
}

/** Checked input: the picture, still as the caller has it, from `image` or from `messages`, and the rest. */
export interface CheckedInput {
  image: ImageInput | undefined;
  fields: EngineInput;
}

/** The largest number of 32 bits with a sign: more than any context has tokens and any vocabulary words. */
const LARGEST = 2 ** 31 - 1;

/** What a field's value is for the engine. */
type Reader = (field: string, value: unknown) => unknown;

const FIELDS: Record<keyof Input, Reader> = {
  image: (_, value) => value, // image.ts checks it while reading it
  prompt: text,
  messages: readConversation,
  max_tokens: atLeast(1),
  temperature: range(0, 5),
  top_p: range(0, 1),
  top_k: atLeast(0),
  seed: (field, value) => {
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value;
    throw wrongType(field, `a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`, value);
  },
  repetition_penalty: (field, value) => {
    if (value === 0) throw invalid(field, "must be above 0, up to 2; 1 switches it off");
    return range(0, 2)(field, value);
  },
  frequency_penalty: range(-2, 2),
  presence_penalty: range(-2, 2),
  raw: oneOf("true or false", [true, false]),
  image_aspect_ratio: oneOf('"pad" or "crop"', ["pad", "crop"]),
  stop: (field, value) =>
    Array.from(Array.isArray(value) ? value : [value], (item: unknown) => {
      if (typeof item === "string" && item !== "") return wellFormed(item);
      throw wrongType(field, "a text or a list of texts, none of them empty", Array.isArray(value) && item !== "" ? item : value);
    }),
};

/**
 * Checks every field of `input` but the picture's contents. Each is read once. `sees`: whether the model takes pictures at all.
 *
 * @throws LlavaError `missing_input` or `invalid_input`, naming the field and what it may be.
 */
export function checkInput(input: Input, sees = true): CheckedInput {
  try {
    return arrange(readFields(input), sees);
  } catch (error) {
    if (error instanceof LlavaError) throw error;
    // What a getter or a proxy of the caller's throws.
    throw new LlavaError("invalid_input", "The input cannot be read: one of its fields throws an error.", { cause: error });
  }
}

type Fields = Omit<EngineInput, "messages" | "max_tokens" | "stop"> & {
  image?: ImageInput;
  messages?: Conversation;
  max_tokens?: number;
  stop?: string[];
};

/** Those that are options of a call that has picture and prompt as arguments. */
export const OPTIONAL_FIELDS = Object.keys(FIELDS).filter((field) => field !== "image" && field !== "prompt");

function readFields(input: unknown): Fields {
  if (typeof input !== "object" || input === null || Array.isArray(input) || ArrayBuffer.isView(input)) {
    throw new LlavaError("invalid_input", `The input must be an object like { image, prompt }, but it is ${nameOf(input)}.`);
  }
  const fields: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(input)) {
    if (!Object.hasOwn(FIELDS, field)) {
      throw invalid(shorten(field), `is not a field of the input. Known: ${Object.keys(FIELDS).join(", ")}`);
    }
    if (value !== undefined) fields[field] = FIELDS[field as keyof Input](field, value);
  }
  return fields;
}

/** Rules between fields, and defaults. */
function arrange({ image, prompt: asked, messages, max_tokens = 512, stop = [], ...rest }: Fields, sees: boolean): CheckedInput {
  // An empty box of a form asks nothing.
  const prompt = asked?.trim() === "" ? undefined : asked;
  const { raw } = rest;
  if (messages !== undefined && prompt !== undefined) {
    throw invalid("messages", "and `prompt` exclude each other: leave one of them out");
  }
  if (messages !== undefined && raw) {
    throw invalid("raw", "goes with `prompt`, not with `messages`");
  }
  if (raw && prompt === undefined) {
    throw missing("prompt", "`raw` takes the prompt as it stands, so there must be one, and not of white space only");
  }
  if (image !== undefined && messages?.picture !== undefined) {
    throw invalid("image", `and \`${messages.place}\` both hold a picture: leave one of them out`);
  }
  const picture = image === undefined ? messages?.picture : image;
  if (messages?.place !== undefined && picture === undefined) {
    throw missing("image", `\`${messages.place}\` is the place of a picture, so give it there as \`image_url\`, or as the input's \`image\``);
  }
  const needed = raw ? prompt?.includes("<image>") : messages === undefined;
  if (needed && sees && picture === undefined) {
    throw missing("image", "give a picture: bytes, a File, a URL, an <img>, a canvas, ...");
  }
  const text = { ...(prompt !== undefined && { prompt }), ...(messages && { messages: messages.messages }) };
  return { image: picture, fields: { ...rest, ...text, max_tokens, stop } };
}

function text(field: string, value: unknown): string {
  if (typeof value === "string") return wellFormed(value);
  throw wrongType(field, "a text", value);
}

function range(low: number, high: number): Reader {
  return (field, value) => {
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw wrongType(field, `a number from ${low} to ${high}`, value);
  };
}

/** A count; one that is too large for the engine means all. */
function atLeast(low: number): Reader {
  return (field, value) => {
    if (Number.isInteger(value) && (value as number) >= low) return Math.min(value as number, LARGEST);
    throw wrongType(field, `a whole number, ${low} or more`, value);
  };
}

function oneOf(wanted: string, values: unknown[]): Reader {
  return (field, value) => {
    if (values.includes(value)) return value;
    throw wrongType(field, wanted, value);
  };
}
