// What a button does, once at a time.

/** Does something whenever the button is pressed, but not while it is being done; keeps the focus. */
export function onPress(button, work, { source = button, event = "click" } = {}) {
  source.addEventListener(event, async (pressed) => {
    pressed.preventDefault();
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    try {
      await work();
    } finally {
      button.ariaDisabled = null;
    }
  });
}
