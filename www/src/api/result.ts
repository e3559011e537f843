import type { Timings } from "../basics/info.js";

/** Tokens of one answer; a picture takes as many as `ModelInfo.image_tokens` says. */
export interface Usage {
  prompt_tokens: number;
  /**
   * Of the prompt's, those that did not have to run again: they began the request before too, picture, question and answer alike.
   * OpenAI's `prompt_tokens_details.cached_tokens`.
   */
  cached_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

/** An answer. The hosted model's is `{ description }`. */
export interface Result {
  description: string;
  usage: Usage;
  /** `stop`: the model ended its answer or a stop text came; `length`: max_tokens or the context was reached. */
  finish_reason: "stop" | "length";
  /** Every generated token. */
  token_ids: number[];
  /**
   * The logarithm of the probability that the model gave to each of them, before penalties, temperature, top-k and top-p: how sure it
   * was. The mean of `Math.exp` of them says that of the whole answer.
   */
  token_logprobs: number[];
  /** The input's `seed`, or the one that was drawn for it: the same request with this seed gives the same answer. */
  seed: number;
  timings: Timings;
  /** The name of the model that answered; a bundle may have two. */
  model: string;
  /** The GPU that ran it. */
  adapter: string;
}
