"""What the documents say, each in its own language, about what all of them share."""

from collections.abc import Mapping

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "done": "Done.",
        "origin": "Where port {port} of the service is seen from outside.",
        "bearer": "An access token, of any document of this service.",
        "client": "A service that may ask about tokens; the form can take its id and secret too.",
        "accessCookie": "The access token, kept by the browser; scripts cannot read it.",
        "refreshCookie": "The refresh token, kept by the browser; scripts cannot read it.",
        "page": "The value of the cookie that scripts can read, beside a cookie that they cannot.",
        "X-Request-ID": "What names this request in the service's log.",
        "X-RateLimit-Limit": "How many requests the limit lets through; absent where none counts.",
        "X-RateLimit-Remaining": "How many of them are left.",
        "X-RateLimit-Reset": "When the count begins anew, in seconds since 1970.",
        "Retry-After": "How many seconds to wait before the next try.",
        "WWW-Authenticate": "How a request proves whose it is.",
        "Allow": "The methods that the path answers.",
    },
    "zh": {
        "done": "成功。",
        "origin": "从外部访问本服务 {port} 端口的地址。",
        "bearer": "访问令牌，本服务任一文档签发的均可。",
        "client": "可以查询令牌的服务；也可在表单中给出其标识与密钥。",
        "accessCookie": "浏览器保存的访问令牌，脚本无法读取。",
        "refreshCookie": "浏览器保存的刷新令牌，脚本无法读取。",
        "page": "脚本可读的 Cookie 的值，须与脚本不可读的 Cookie 一同发送。",
        "X-Request-ID": "此请求在服务日志中的标识。",
        "X-RateLimit-Limit": "限额内允许的请求数；不计数时没有此项。",
        "X-RateLimit-Remaining": "剩余的请求数。",
        "X-RateLimit-Reset": "重新计数的时间，自 1970 年起的秒数。",
        "Retry-After": "再次尝试前须等待的秒数。",
        "WWW-Authenticate": "请求须如何证明身份。",
        "Allow": "此路径支持的方法。",
    },
}
