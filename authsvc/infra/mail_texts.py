"""The words of the mails, in every language: a subject, and paragraphs.

`$link` stands alone in its paragraph. A paragraph with `$username` is left out where
the reader may be a stranger.
"""

from authsvc.core.letters import EMAIL_CHANGED, PASSWORD_CHANGED, RESET, VERIFY

Text = tuple[str, tuple[str, ...]]

FALLBACK = "en"

_ENGLISH: dict[str, Text] = {
    VERIFY: (
        "Confirm your e-mail address",
        (
            "Hello,",
            "this address was given at $site. Open this link to confirm that it is yours:",
            "$link",
            "The link is good for $minutes minutes, and once.",
            "If it was not you, do nothing: the address stays unconfirmed.",
        ),
    ),
    RESET: (
        "Set a new password",
        (
            "Hello,",
            "someone asked for a new password at $site for the account of this address. "
            "Open this link to set one:",
            "$link",
            "The link is good for $minutes minutes, and once.",
            "Your user name is: $username",
            "If it was not you, do nothing: your password stays as it is.",
        ),
    ),
    EMAIL_CHANGED: (
        "Your e-mail address was changed",
        (
            "Hello,",
            "your account at $site does not use this e-mail address any more. "
            "Nothing else will be sent to it.",
            "If it was not you, tell the operator of $site at once.",
        ),
    ),
    PASSWORD_CHANGED: (
        "Your password was changed",
        (
            "Hello,",
            "the password of your account at $site was changed.",
            "Your user name is: $username",
            "If it was not you, set a new password at once, and tell the operator of $site.",
        ),
    ),
}

_CHINESE: dict[str, Text] = {
    VERIFY: (
        "请确认您的邮箱地址",
        (
            "您好！",
            "有人在 $site 填写了此邮箱地址。如果是您本人，请打开以下链接进行确认：",
            "$link",
            "链接在 $minutes 分钟内有效，且只能使用一次。",
            "如果不是您本人操作，请忽略此邮件，该地址不会被确认。",
        ),
    ),
    RESET: (
        "重设密码",
        (
            "您好！",
            "有人为 $site 上使用此邮箱的账号申请重设密码。请打开以下链接设置新密码：",
            "$link",
            "链接在 $minutes 分钟内有效，且只能使用一次。",
            "您的用户名：$username",
            "如果不是您本人操作，请忽略此邮件，您的密码不会改变。",
        ),
    ),
    EMAIL_CHANGED: (
        "您的邮箱地址已更改",
        (
            "您好！",
            "您在 $site 的账号不再使用此邮箱地址，今后不会再向此地址发送邮件。",
            "如果不是您本人操作，请立即联系 $site 的管理员。",
        ),
    ),
    PASSWORD_CHANGED: (
        "您的密码已更改",
        (
            "您好！",
            "您在 $site 的账号的密码已更改。",
            "您的用户名：$username",
            "如果不是您本人操作，请立即重设密码，并联系 $site 的管理员。",
        ),
    ),
}

TEXTS: dict[str, dict[str, Text]] = {"en": _ENGLISH, "zh": _CHINESE}
