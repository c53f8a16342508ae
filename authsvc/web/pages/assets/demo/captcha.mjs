// The captcha of the sign-up form: its picture, a new one, its sound.
import { onPress } from "/demo/press.mjs";
import { ask } from "/demo/wire.mjs";

const SPENT_BY = ["captcha", "taken", "unknown"];

const image = document.querySelector("#image");
const answer = document.querySelector("#value");
const play = document.querySelector("#play");
const renew = document.querySelector("#renew");

export class CaptchaField {
  constructor(page) {
    this.page = page;
    this.id = "";
    this.mount = null;
    this.turn = 0;
    onPress(renew, async () => {
      if (await page.attempt(() => this.ask())) answer.focus();
    });
    onPress(play, () => this.play());
    image.addEventListener("error", () => page.complain(page.words().faults.picture));
  }

  /** Shows a captcha of this mount, unless it does already. */
  async openAt(mount) {
    image.alt = this.page.words().picture;
    if (this.mount === mount) return;
    this.mount = mount;
    play.hidden = !this.page.native;
    await this.page.attempt(() => this.ask());
  }

  /** Forgets the captcha, and with it what was typed. */
  close() {
    this.mount = null;
    this.turn += 1;
    this.id = answer.value = "";
    show(null);
  }

  /** Shows another captcha in place of a spent one; what went wrong is still being said. */
  async renew() {
    await this.ask().catch(() => this.page.complain(this.page.words().faults.picture));
  }

  /** Tells whether a sign-up that failed so has used the captcha up. */
  isSpentBy(fault) {
    return SPENT_BY.includes(fault);
  }

  async ask() {
    const turn = ++this.turn;
    const { speaks, base } = this.mount;
    answer.value = "";
    image.ariaBusy = "true";
    const { captchaId, image: picture = `${base}${speaks.captcha}/${captchaId}` } = speaks.captcha
      ? await ask(base + speaks.captcha)
      : await this.page.auth.captcha();
    const drawn = await ask(picture, {}, "blob");
    if (turn !== this.turn) return;
    this.id = captchaId;
    show(drawn);
  }

  /** A captcha is the same in every document; the native one has its sound. */
  async play() {
    const { native, words, complain } = this.page;
    const language = document.documentElement.lang.slice(0, 2);
    const sound = new Audio(`${native.base}/captcha/${this.id}/audio?lang=${language}`);
    sound.addEventListener("error", () => complain(words().faults.sound));
    document.body.dataset.sound = "asked";
    sound.addEventListener("playing", () => (document.body.dataset.sound = "playing"));
    await sound.play().catch(() => complain(words().faults.sound));
    answer.focus();
  }
}

function show(picture) {
  URL.revokeObjectURL(image.src);
  if (picture) image.src = URL.createObjectURL(picture);
  else image.removeAttribute("src");
  image.ariaBusy = "false";
}
