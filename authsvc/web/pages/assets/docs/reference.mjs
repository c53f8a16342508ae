// Shows the document that the page names, and mends what keeps people out of the viewer's own markup.

const place = document.querySelector("#reference");

// No deepLinking: it puts a link into the button of each operation.
globalThis.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.document,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
});

/** What the viewer draws → what it lacks, put there once. */
const MENDS = {
  ".information-container": (part) => Object.assign(part, { role: "region", ariaLabel: "About" }),
  ".scheme-container, .schemes-server-container": (part) =>
    Object.assign(part, { role: "region", ariaLabel: part.className.includes("server") ? "Servers" : "Access" }),
  ".modal-ux": (part) => Object.assign(part, { role: "dialog", ariaModal: "true", ariaLabel: "Authorizations" }),
  "h3, h4, h5, h6": (heading) => (heading.ariaLevel = heading.localName[1] - 1),
  "#servers": (field) => (field.ariaLabel = "Server"),
  "select.examples-select-element": (field) => (field.ariaLabel = "Example"),
  "select:not([id], .examples-select-element)": (field) => (field.ariaLabel = "Media type"),
  "textarea": (field) => (field.ariaLabel = "Request body"),
  ".close-modal": (button) => (button.ariaLabel = "Close"),
  ".modal-btn[aria-label]": (button) => (button.ariaLabel = null),
  ".microlight, .responses-inner": (area) => (area.tabIndex = 0),
};
const mended = new WeakSet();

function mend() {
  for (const [drawn, work] of Object.entries(MENDS)) {
    for (const element of place.querySelectorAll(drawn)) {
      if (!mended.has(element)) work(element);
    }
  }
  for (const element of place.querySelectorAll("*")) mended.add(element);
}

new MutationObserver(mend).observe(place, { childList: true, subtree: true });
