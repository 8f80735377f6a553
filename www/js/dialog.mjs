// Modal dialogs, and where the keyboard was before them.
import { html } from "lit-html";
import { ref } from "lit-html/directives/ref.js";

let before;

/** Opens the element as soon as it is in the page; the same function each time, so that it is asked once for each. */
function open(element) {
  if (!element) {
    // Gone: back to where one was, if that is still there.
    queueMicrotask(() => before?.isConnected && before.focus());
    return;
  }
  before = document.activeElement;
  queueMicrotask(() => element.isConnected && !element.open && element.showModal());
}

/**
 * A dialog that is open as long as it is rendered.
 *   name     the id of the element that names it
 *   onClose  Escape was pressed
 *   alert    whether it interrupts
 */
export const dialog = ({ name, onClose, alert = false, kind = "" }, content) => html`
  <dialog
    class=${`dialog ${kind}`}
    role=${alert ? "alertdialog" : "dialog"}
    aria-labelledby=${name}
    @cancel=${(event) => {
      event.preventDefault();
      onClose();
    }}
    ${ref(open)}
  >
    ${content}
  </dialog>
`;
