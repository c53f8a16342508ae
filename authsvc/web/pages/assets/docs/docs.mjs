// Names each document and its language, as the service's list of them has it.

const LANGUAGES = { en: ["en", "English"], zh: ["zh-CN", "中文"] };

async function nameAll() {
  const answer = await fetch("/openapi");
  if (!answer.ok) return;
  for (const { dialect, title, language } of (await answer.json()).documents) {
    const [tag, name] = LANGUAGES[language];
    for (const item of document.querySelectorAll(`[data-dialect="${dialect}"]`)) {
      put(item.querySelector(".title"), title, tag);
      put(item.querySelector(".language"), name, tag);
    }
  }
}

function put(element, text, tag) {
  element.textContent = text;
  element.lang = tag;
}

await nameAll();
document.body.dataset.ready = "yes";
