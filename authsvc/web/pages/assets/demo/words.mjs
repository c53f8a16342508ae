// What the page says, in both languages.
export const WORDS = {
  en: {
    title: "authsvc · demo",
    tagline: "Sign-up, login and captcha, in several documents over one core.",
    language: "Language",
    document: "Document",
    reference: "Reference of the documents",
    elsewhere: (names) => `At another address of this service: ${names}. Open this page there to try it.`,
    base: "Base URL",
    welcome: "Welcome",
    way: "What to do",
    signUp: "Sign up",
    logIn: "Log in",
    username: "User name",
    email: "E-mail address",
    optional: "optional",
    password: "Password",
    rule: (length) => `At least ${length} characters.`,
    ruleWithCapital: (length) => `At least ${length} characters, one of them a capital letter.`,
    captcha: "Captcha",
    picture: "A picture of letters and digits",
    newPicture: "New picture",
    playSound: "Play as sound",
    code: "One-time code",
    hello: (name) => `Hello, ${name}`,
    timeLeft: "Time left",
    over: "over",
    whoAmI: "Who am I?",
    sessions: "Sessions",
    thisOne: "this one",
    end: "End",
    endOf: (agent) => `End the session of ${agent}`,
    renew: "Renew the token",
    renewed: "The token was renewed.",
    notRenewable: "This document gives no refresh token: the session ends with the token.",
    logOut: "Log out",
    loggedOut: "You are logged out.",
    forgotten: "This page has forgotten the token, which stays good until its end: no mounted document can end it.",
    signedUp: "Your account was made. Now log in.",
    ended: "The session was ended.",
    unspoken: "This page speaks none of the documents that are served here.",
    wire: "On the wire",
    clear: "Clear",
    silence: "Requests and answers appear here as they happen.",
    request: "Request",
    answer: "Answer",
    noAnswer: "no answer",
    bytes: (count) => `… ${count} bytes`,
    faults: {
      empty: "Please fill in this field.",
      captcha: "The captcha was not read right. Here is a new picture.",
      taken: "The user name or e-mail address is taken. Choose another.",
      credentials: "The user name or the password is wrong.",
      code: "Please give the one-time code too.",
      password: "The password is too short, too easy, or has no capital letter.",
      input: "The service cannot accept these values.",
      token: "The session has ended. Please log in again.",
      limited: "Too many requests. Please wait a little.",
      wait: (seconds) => `Too many requests. Please wait ${seconds} s.`,
      unreachable: "The service cannot be reached.",
      sound: "The sound cannot be played.",
      picture: "The picture cannot be shown. Ask for a new one.",
      unknown: "The service could not do that. Please try later.",
    },
  },
  zh: {
    title: "authsvc · 演示",
    tagline: "注册、登录与验证码：多份接口文档，同一个内核。",
    language: "语言",
    document: "接口文档",
    reference: "接口参考",
    elsewhere: (names) => `以下文档在本服务的另一个地址，请在该地址打开本页试用：${names}。`,
    base: "基础地址",
    welcome: "欢迎",
    way: "操作",
    signUp: "注册",
    logIn: "登录",
    username: "用户名",
    email: "邮箱",
    optional: "选填",
    password: "密码",
    rule: (length) => `至少 ${length} 个字符。`,
    ruleWithCapital: (length) => `至少 ${length} 个字符，并包含大写字母。`,
    captcha: "验证码",
    picture: "由字母和数字组成的图片",
    newPicture: "换一张",
    playSound: "播放语音",
    code: "动态验证码",
    hello: (name) => `你好，${name}`,
    timeLeft: "剩余时间",
    over: "已过期",
    whoAmI: "我是谁？",
    sessions: "会话",
    thisOne: "当前会话",
    end: "结束",
    endOf: (agent) => `结束 ${agent} 的会话`,
    renew: "续期令牌",
    renewed: "令牌已续期。",
    notRenewable: "此文档不提供刷新令牌：会话随令牌一同结束。",
    logOut: "退出登录",
    loggedOut: "你已退出登录。",
    forgotten: "本页已不再保存令牌；令牌在到期前仍然有效，因为已挂载的文档都不能将其注销。",
    signedUp: "账号已创建，请登录。",
    ended: "会话已结束。",
    unspoken: "此处提供的文档，本页均不支持。",
    wire: "网络请求",
    clear: "清空",
    silence: "请求与响应会实时显示在这里。",
    request: "请求",
    answer: "响应",
    noAnswer: "无响应",
    bytes: (count) => `… ${count} 字节`,
    faults: {
      empty: "请填写此项。",
      captcha: "验证码不正确，已为你更换图片。",
      taken: "用户名或邮箱已被使用，请换一个。",
      credentials: "用户名或密码错误。",
      code: "请同时填写动态验证码。",
      password: "密码太短、太简单，或缺少大写字母。",
      input: "服务无法接受这些内容。",
      token: "会话已结束，请重新登录。",
      limited: "请求过于频繁，请稍候。",
      wait: (seconds) => `请求过于频繁，请等待 ${seconds} 秒。`,
      unreachable: "无法连接到服务。",
      sound: "无法播放语音。",
      picture: "无法显示图片，请换一张。",
      unknown: "服务暂时无法完成操作，请稍后再试。",
    },
  },
};

const KEPT = "authsvc-demo.language";

/** Returns the language to begin with: the one chosen before, or what the browser prefers. */
export function firstLanguage() {
  const chosen = withStorage((storage) => storage.getItem(KEPT));
  if (Object.hasOwn(WORDS, chosen ?? "")) return chosen;
  const preferred = navigator.languages.find((tag) => /^(en|zh)\b/i.test(tag)) ?? "en";
  return preferred.slice(0, 2).toLowerCase();
}

/** Puts every word of the page into the language; returns its words. */
export function speak(language) {
  const words = WORDS[language];
  withStorage((storage) => storage.setItem(KEPT, language));
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = words.title;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = words[element.dataset.t];
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.ariaLabel = element.title = words[element.dataset.tLabel];
  }
  return words;
}

/** Does something with what the browser keeps for the page; nothing where that is blocked or full. */
function withStorage(work) {
  try {
    return work(localStorage);
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}
