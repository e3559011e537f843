// Shows errors in the visitor's words, with the developer's behind them.
import { advice } from "./advice.js";
import { element } from "./page.js";

/** @typedef {{ code?: string, message?: string, file?: string }} Problem */

/** What stands in nobody's way. */
const HARMLESS = ["quota_exceeded", "storage", "low_memory"];

/**
 * Shows `problems` in `place`, and nothing else; without any it is empty.
 *
 * @param {HTMLElement} place
 * @param {Problem[]} problems
 * @param {{ ownModel: boolean, goesOn?: boolean }} about whether the model is one the visitor gave; whether these are only warnings
 */
export function showProblems(place, problems, { ownModel, goesOn = false } = { ownModel: false }) {
  const circumstances = { ownModel };
  place.replaceChildren(
    ...problems.map((problem) => {
      const { code = "", message, file } = problem;
      const { title, cure } = advice(problem, { ...circumstances, file }, goesOn);
      const shown = element("div", { className: "problem" }, element("p", {}, element("strong", { textContent: title }), ` ${cure}`));
      shown.dataset.code = code;
      shown.classList.toggle("warning", goesOn || HARMLESS.includes(code));
      if (message) {
        const details = element("p", { textContent: code ? `${code}: ${message}` : message });
        shown.append(element("details", {}, element("summary", { textContent: "For developers" }), details));
      }
      return shown;
    }),
  );
}

/** Takes away from `place` what is said there of `code`. @param {HTMLElement} place @param {string} [code] */
export function dropProblem(place, code = "") {
  for (const shown of [...place.children]) if (shown instanceof HTMLElement && shown.dataset.code === code) shown.remove();
}
