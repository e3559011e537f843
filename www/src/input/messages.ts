import { shorten } from "../basics/naming.js";
import type { ImageInput } from "./image.js";
import { invalid, wrongType } from "./invalid.js";
import { wellFormed } from "./well-formed.js";

/**
 * A part of a message: text, or the place of the picture. The picture itself is the input's `image`, or stands here: of any kind
 * as `image`, or its URL as `image_url`, where OpenAI's APIs have it.
 */
export type MessagePart =
  | { type: "text" | "input_text"; text: string }
  | {
      type: "image" | "image_url" | "input_image";
      image?: ImageInput;
      image_url?: string | URL | { url: string | URL; detail?: string };
      detail?: string;
    };

/** One turn of a conversation. */
export interface Message {
  role: "system" | "user" | "assistant";
  content: string | MessagePart[];
}

type EnginePart = { type: "text"; text: string } | { type: "image" };

/** A message as the engine takes it. */
export interface EngineMessage {
  role: Message["role"];
  content: string | EnginePart[];
}

/** A conversation whose picture, if it has one, was taken out. */
export interface Conversation {
  messages: EngineMessage[];
  /** The name of the part that is the picture's place. */
  place?: string;
  /** What that part holds. */
  picture?: ImageInput;
}

/**
 * Checks `messages`.
 *
 * @throws LlavaError `invalid_input`, naming the part.
 */
export function readConversation(field: string, value: unknown): Conversation {
  if (!Array.isArray(value) || value.length === 0) {
    throw wrongType(field, "a list of { role, content } with at least one turn", value);
  }
  const conversation: Conversation = { messages: [] };
  conversation.messages = Array.from(value, (turn: unknown, index) => {
    const { role, content } = (turn ?? {}) as Partial<Message>;
    if (role !== "system" && role !== "user" && role !== "assistant") {
      throw wrongType(`${field}[${index}].role`, '"system", "user" or "assistant"', role);
    }
    return { role, content: readContent(`${field}[${index}].content`, content, conversation) };
  });
  return conversation;
}

function readContent(field: string, content: unknown, conversation: Conversation): EngineMessage["content"] {
  if (typeof content === "string") return wellFormed(content);
  if (!Array.isArray(content)) throw wrongType(field, 'a text, or a list of { type: "text", text } and { type: "image" }', content);
  return Array.from(content, (part: unknown, index) => readPart(`${field}[${index}]`, part, conversation));
}

function readPart(field: string, part: unknown, conversation: Conversation): EnginePart {
  const { type, text, ...rest } = (part ?? {}) as Record<string, unknown>;
  switch (type) {
    case "text":
    case "input_text":
      if (typeof text !== "string") throw wrongType(`${field}.text`, "a text", text);
      return { type: "text", text: wellFormed(text) };
    case "image":
    case "image_url":
    case "input_image":
      if (conversation.place !== undefined) throw invalid(field, `is a second picture beside \`${conversation.place}\`: a request takes one`);
      conversation.place = field;
      conversation.picture = readPicture(field, rest);
      return { type: "image" };
    default:
      throw wrongType(`${field}.type`, '"text", "input_text", "image", "image_url" or "input_image"', type);
  }
}

function readPicture(field: string, { image, image_url, detail: _, ...unknown }: Record<string, unknown>): ImageInput | undefined {
  const stray = Object.keys(unknown).find((key) => (unknown[key] ?? undefined) !== undefined);
  if (stray !== undefined) throw invalid(`${field}.${shorten(stray)}`, "is not a field of a picture's part. Known: type, image, image_url, detail");
  const url = urlOf(`${field}.image_url`, image_url);
  const given = image ?? undefined;
  if (given !== undefined && url !== undefined) throw invalid(field, "has both `image` and `image_url`: leave one of them out");
  return (given as ImageInput | undefined) ?? url;
}

function urlOf(field: string, value: unknown): string | URL | undefined {
  const url: unknown = typeof value === "object" && value !== null && !(value instanceof URL) ? (value as { url?: unknown }).url : value;
  if (value === undefined || value === null || typeof url === "string" || url instanceof URL) return url as string | URL | undefined;
  throw wrongType(field, "a URL or { url }", value);
}
