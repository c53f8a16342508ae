#!/usr/bin/env bash
# Asks every example of every document with curl and compares each whole answer. The first that differs is named.
#
#   make smoke                               a throwaway service: sign-up with captcha first, then without
#   make smoke BASE_8080=… BASE_3000=…       a service that runs already, by the addresses that stand for those ports;
#                                            with AUTHSVC_CAPTCHA_TEST_VALUE, ADMIN_NAME and AUTHSVC_ADMIN_PASSWORD
#
# PORTS="8080 3000" and DATA=var give the throwaway service ports and data that stay; SIGNUP_CAPTCHA=on or off tells
# of a running one what is otherwise found out. Exit status: 0, 1 for a difference, 2 for a missing variable.
set -euo pipefail

# In requests and answers, <name> is a fresh user name, <captcha> a fresh captcha, <value> the captcha's test value,
# <admin> and <admin-password> the administrator's. In answers, <token> and <id> stand for whatever has that form.

session_log_in() {
    document 'session.md, login'
    known_user
    example 'login' \
        POST "$BASE_8080/login" '{"username": "<name>", "password": "Testpassword1"}' \
        200 '{"message":"Login successful","session_token":"<token>"}'
    example 'a field missing' \
        POST "$BASE_8080/login" '{"username": "<name>"}' \
        400 '{"error":"Invalid request"}'
    example 'a field of another type' \
        POST "$BASE_8080/login" '{"username": "<name>", "password": 12345678}' \
        400 '{"error":"Invalid request"}'
    example 'a wrong password' \
        POST "$BASE_8080/login" '{"username": "<name>", "password": "wrongpassword"}' \
        401 '{"error":"Invalid username or password"}'
    example 'an unknown name' \
        POST "$BASE_8080/login" '{"username": "<name>-nobody", "password": "Testpassword1"}' \
        401 '{"error":"Invalid username or password"}'
}

session_sign_up() {
    document 'session.md, signup'
    local whole='{"username": "<name>", "password": "newpassword", "email": "<name>@example.com", "captchaId": "<captcha>", "value": "<value>"}'
    fresh_name
    fresh_captcha
    example 'signup' \
        POST "$BASE_8080/signup" "$whole" \
        200 '{"message":"User signup successfully","session_token":"<token>"}'
    example 'a captcha used before' \
        POST "$BASE_8080/signup" "$whole" \
        400 '{"error":"Invalid captcha"}'
    fresh_captcha
    example 'the name taken' \
        POST "$BASE_8080/signup" "$whole" \
        409 '{"error":"Username already exists"}'
    fresh_captcha
    example 'the e-mail address taken' \
        POST "$BASE_8080/signup" "${whole/<name>/<name>-2}" \
        409 '{"error":"Failed to create user"}'
    fresh_name
    fresh_captcha
    example 'the captcha missing' \
        POST "$BASE_8080/signup" '{"username": "<name>", "password": "newpassword", "email": "<name>@example.com"}' \
        400 '{"error":"Invalid request"}'
    example 'a wrong captcha' \
        POST "$BASE_8080/signup" "${whole/<value>/not <value>}" \
        400 '{"error":"Invalid captcha"}'
}

session_sign_up_without_captcha() {
    document 'session-without-captcha.md, signup'
    local whole='{"username": "<name>", "password": "newpassword", "email": "<name>@example.com"}'
    fresh_name
    example 'signup' \
        POST "$BASE_8080/signup" "$whole" \
        200 '{"message":"User signup successfully","session_token":"<token>"}'
    example 'the name taken' \
        POST "$BASE_8080/signup" "$whole" \
        409 '{"error":"Username already exists"}'
    example 'the e-mail address taken' \
        POST "$BASE_8080/signup" "${whole/<name>/<name>-2}" \
        409 '{"error":"Failed to create user"}'
    fresh_name
    example 'a field missing' \
        POST "$BASE_8080/signup" '{"username": "<name>", "password": "newpassword"}' \
        400 '{"error":"Invalid request"}'
}

session_captcha() {
    document 'session.md, captcha'
    fresh_captcha
    example_image 'a captcha image' "$BASE_8080/captcha/<captcha>"
    example 'an unknown captcha' \
        GET "$BASE_8080/captcha/abc123" '' \
        500 '{"error":"Failed to generate captcha image"}'
}

token() {
    document 'token.md, register'
    local whole='{"username": "<name>", "password": "examplePassword", "email": "<name>@example.com"}'
    fresh_name
    example 'register' \
        POST "$BASE_8080/api/register" "$whole" \
        201 '{"userId":"<id>","username":"<name>","email":"<name>@example.com","token":"<token>"}'
    example 'a parameter missing' \
        POST "$BASE_8080/api/register" '{"username": "<name>", "password": "examplePassword"}' \
        400 '{"error":"Missing parameters"}'
    example 'the name taken' \
        POST "$BASE_8080/api/register" "${whole/<name>@/<name>-2@}" \
        409 '{"error":"User already exists"}'
    example 'the e-mail address taken' \
        POST "$BASE_8080/api/register" "${whole/<name>/<name>-2}" \
        409 '{"error":"User already exists"}'

    document 'token.md, login'
    example 'login' \
        POST "$BASE_8080/api/login" '{ "username": "<name>", "password": "examplePassword" }' \
        200 '{"userId":"<id>","username":"<name>","email":"<name>@example.com","token":"<token>"}'
    example 'a parameter missing' \
        POST "$BASE_8080/api/login" '{ "username": "<name>" }' \
        400 '{"error":"Missing parameters"}'
    example 'a wrong password' \
        POST "$BASE_8080/api/login" '{ "username": "<name>", "password": "wrongPassword" }' \
        401 '{"error":"Invalid credentials"}'
}

admin() {
    document 'admin.md, register'
    local whole='{"username": "<name>", "password": "secure_password", "email": "<name>@example.com"}'
    fresh_name
    example 'register' \
        POST "$BASE_3000/api/auth/register" "$whole" \
        201 '{"message":"注册成功","token":"<token>","user":{"id":<id>,"username":"<name>","email":"<name>@example.com"}}'
    local ordinary=$TOKEN
    example 'a field missing' \
        POST "$BASE_3000/api/auth/register" '{"username": "<name>", "password": "secure_password"}' \
        400 '{"message":"请填写所有必需字段"}'
    example 'the name taken' \
        POST "$BASE_3000/api/auth/register" "$whole" \
        409 '{"message":"用户名已存在"}'

    document 'admin.md, login'
    example 'login' \
        POST "$BASE_3000/api/auth/login" '{"username": "<name>", "password": "secure_password"}' \
        200 '{"message":"登录成功","token":"<token>","user":{"id":<id>,"username":"<name>","email":"<name>@example.com"}}'
    example 'a wrong password' \
        POST "$BASE_3000/api/auth/login" '{"username": "<name>", "password": "wrong_password"}' \
        401 '{"message":"用户名或密码错误"}'

    document 'admin.md, createUser'
    example "the administrator's login, by another document" \
        POST "$BASE_8080/login" '{"username": "<admin>", "password": "<admin-password>"}' \
        200 '{"message":"Login successful","session_token":"<token>"}'
    local administrator=$TOKEN
    local whole='{"username": "<name>", "password": "secure_password", "email": "<name>@example.com", "permission": 1}'
    fresh_name
    BEARER=$administrator example 'createUser' \
        POST "$BASE_3000/api/auth/createUser" "$whole" \
        201 '{"message":"用户创建成功","user":{"id":<id>,"username":"<name>","email":"<name>@example.com","permission":1,"data":"{}"}}'
    BEARER=$administrator example 'the name taken' \
        POST "$BASE_3000/api/auth/createUser" "$whole" \
        409 '{"message":"用户名已存在"}'
    fresh_name
    BEARER=$administrator example 'createUser with permission 0' \
        POST "$BASE_3000/api/auth/createUser" "${whole/: 1\}/: 0\}}" \
        201 '{"message":"用户创建成功","user":{"id":<id>,"username":"<name>","email":"<name>@example.com","permission":0,"data":"{}"}}'
    BEARER=$administrator example 'a field missing' \
        POST "$BASE_3000/api/auth/createUser" '{"username": "<name>", "password": "secure_password"}' \
        400 '{"message":"请填写所有必需字段"}'
    BEARER=$ordinary example 'too little permission' \
        POST "$BASE_3000/api/auth/createUser" "$whole" \
        403 '{"message":"权限不足"}'
    example 'no token' \
        POST "$BASE_3000/api/auth/createUser" "$whole" \
        401 '{"message":"未授权访问"}'
}

envelope() {
    document 'envelope.md, register'
    fresh_name
    example 'register' \
        POST "$BASE_3000/api/register" '{"username": "<name>", "password": "securePwd#123"}' \
        200 '{"success":true,"message":"注册成功","statusCode":200}'
    example 'the name taken' \
        POST "$BASE_3000/api/register" '{"username": "<name>", "password": "securePwd#123"}' \
        409 '{"success":false,"message":"用户名已存在","statusCode":409,"errorCode":"USERNAME_ALREADY_EXISTS"}'
    example 'a password without an upper-case letter' \
        POST "$BASE_3000/api/register" '{"username": "<name>-2", "password": "securepwd#123"}' \
        400 '{"success":false,"message":"密码不符合要求","statusCode":400,"errorCode":"INVALID_PASSWORD","details":{"min_length":8,"requires_uppercase":true}}'
    example 'no JSON' \
        POST "$BASE_3000/api/register" 'username=<name>' \
        400 '{"success":false,"message":"请求参数无效","statusCode":400,"errorCode":"INVALID_INPUT"}'

    document 'envelope.md, login'
    example 'login' \
        POST "$BASE_3000/api/login" '{"username": "<name>", "password": "securePwd#123"}' \
        200 '{"success":true,"message":"登录成功","data":{"token":"<token>","user":{"id":"<id>","username":"<name>"}},"statusCode":200}'
    example 'a wrong password' \
        POST "$BASE_3000/api/login" '{"username": "<name>", "password": "mySecret123"}' \
        401 '{"success":false,"message":"用户名或密码不正确","statusCode":401,"errorCode":"INVALID_CREDENTIALS"}'
    example 'no JSON' \
        POST "$BASE_3000/api/login" 'username=<name>' \
        400 '{"success":false,"message":"请求参数无效","statusCode":400,"errorCode":"INVALID_INPUT"}'
}

every_document() { # on|off: whether sign-up asks for a captcha
    session_log_in
    if [[ $1 == on ]]; then session_sign_up; else session_sign_up_without_captcha; fi
    session_captcha
    token
    admin
    envelope
}

# --- One example --------------------------------------------------------------------------------------------------

PASSED=0
DOCUMENT=''  # the document and the operation that are being asked
NAME=''      # what <name> stands for
CAPTCHA=''   # what <captcha> stands for
TOKEN=''     # the token of the last answer that held one
BEARER=''    # the token to present with the next request

document() { DOCUMENT=$1; }

example() { # WHAT METHOD URL BODY STATUS ANSWER
    ask "$2" "$3" "$4"
    expect "$1" "$2 $3 $4" "$5 application/json $6" "$STATUS $TYPE $(shape "$ANSWER")"
}

example_image() { # WHAT URL
    local signature
    ask GET "$2" ''
    LC_ALL=C IFS= read -r -N 8 signature <"$WORK/answer" || :
    if [[ $signature == $'\x89PNG\r\n\x1a\n' ]]; then ANSWER='a PNG'; fi
    expect "$1" "GET $2" '200 image/png a PNG' "$STATUS $TYPE $ANSWER"
}

ask() { # METHOD URL BODY: the answer comes as STATUS, TYPE, ANSWER and, if there is one in it, TOKEN
    local request=(--request "$1" --output "$WORK/answer" --write-out '%{http_code} %{content_type}\n' --max-time 30)
    if [[ -n $3 ]]; then request+=(--header 'Content-Type: application/json' --data-binary "@$WORK/body"); fi
    if [[ -n $BEARER ]]; then request+=(--header "@$WORK/bearer"); fi
    # Secrets go by files: others can read a command line.
    fill_in "$3" >"$WORK/body"
    echo "Authorization: Bearer $BEARER" >"$WORK/bearer"
    : >"$WORK/answer"
    read -r STATUS TYPE < <(quiet_curl "${request[@]}" "$(fill_in "$2")" 2>"$WORK/complaint" || :)
    IFS= read -r -d '' ANSWER < <(tr -d '\0' <"$WORK/answer") || :
    ANSWER=${ANSWER%$'\n'}
    if [[ $STATUS == 000 ]]; then ANSWER=$(<"$WORK/complaint"); fi
    if [[ $ANSWER =~ $TOKEN_FORM ]]; then TOKEN=${BASH_REMATCH[1]}; fi
}

quiet_curl() { curl -q --silent --show-error --noproxy localhost,127.0.0.1,::1 "$@"; }

expect() { # WHAT REQUEST EXPECTED CAME
    local expected
    expected=$(fill_in_names "$3")
    if [[ $4 == "$expected" ]]; then
        PASSED=$((PASSED + 1))
        return
    fi
    {
        echo "smoke: $DOCUMENT: $1: another answer came than the document has"
        echo "  asked:    $(fill_in_names "$2")"
        echo "  expected: $expected"
        echo "  came:     $4"
        if [[ $STATUS == 429 ]]; then
            echo '  The service limits how often one address may ask: give it AUTHSVC_RATELIMIT_ENABLED=off AUTHSVC_GUESS_LIMIT=off for this test.'
        fi
        echo "smoke: $PASSED passed, 1 failed"
    } >&2
    exit 1
}

# A token signed HS256, as the documents print it: {"alg":"HS256","typ":"JWT"} and what follows.
TOKEN_FORM='"(eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43})"'
ID_FORM='"(userId|id)":("?)[1-9][0-9]*("?)([,}])'
CAPTCHA_FORM='"captchaId":"([A-Za-z0-9_-]{16,})"'

shape() { # ANSWER: with <token> and <id> for what has their form
    local text=$1
    if [[ $text =~ $TOKEN_FORM ]]; then text=${text/"${BASH_REMATCH[0]}"/'"<token>"'}; fi
    if [[ $text =~ $ID_FORM ]]; then
        text=${text/"${BASH_REMATCH[0]}"/"\"${BASH_REMATCH[1]}\":${BASH_REMATCH[2]}<id>${BASH_REMATCH[3]}${BASH_REMATCH[4]}"}
    fi
    if [[ $text =~ $CAPTCHA_FORM ]]; then text=${text/"${BASH_REMATCH[1]}"/'<id>'}; fi
    printf '%s' "$text"
}

fill_in_names() { # TEXT
    local text=${1//'<name>'/"$NAME"}
    printf '%s' "${text//'<captcha>'/"$CAPTCHA"}"
}

fill_in() { # TEXT: secrets too
    local text
    text=$(fill_in_names "$1")
    text=${text//'<value>'/"$(in_json "$AUTHSVC_CAPTCHA_TEST_VALUE")"}
    text=${text//'<admin>'/"$(in_json "$ADMIN_NAME")"}
    printf '%s' "${text//'<admin-password>'/"$(in_json "$AUTHSVC_ADMIN_PASSWORD")"}"
}

in_json() { # TEXT: as it stands within quotes
    local text=${1//\\/\\\\}
    printf '%s' "${text//\"/\\\"}"
}

fresh_name() { NAME="smoke-$(date +%s)-$$-$((NAMES += 1))"; }
NAMES=0

fresh_captcha() { # an example itself
    example 'a captcha id' GET "$BASE_8080/captcha" '' 200 '{"captchaId":"<id>"}'
    [[ $ANSWER =~ $CAPTCHA_FORM ]] && CAPTCHA=${BASH_REMATCH[1]}
}

known_user() { # a user with the password Testpassword1
    fresh_name
    example 'a user to log in, by envelope.md' \
        POST "$BASE_3000/api/register" '{"username": "<name>", "password": "Testpassword1"}' \
        200 '{"success":true,"message":"注册成功","statusCode":200}'
}

# --- The service that is asked ------------------------------------------------------------------------------------

ask_a_running_service() {
    local name missing=()
    for name in BASE_8080 BASE_3000 AUTHSVC_CAPTCHA_TEST_VALUE ADMIN_NAME AUTHSVC_ADMIN_PASSWORD; do
        if [[ -z ${!name-} ]]; then missing+=("$name"); fi
    done
    if ((${#missing[@]})); then
        echo "smoke: to ask a running service, set ${missing[*]} too" >&2
        exit 2
    fi
    BASE_8080=${BASE_8080%/}
    BASE_3000=${BASE_3000%/}
    if [[ -z ${SIGNUP_CAPTCHA-} ]]; then find_out_about_captcha; fi
    every_document "$SIGNUP_CAPTCHA"
}

find_out_about_captcha() { # sets SIGNUP_CAPTCHA
    fresh_name
    ask POST "$BASE_8080/signup" '{"username": "<name>", "password": "newpassword", "email": "<name>@example.com"}'
    if [[ $STATUS == 200 ]]; then SIGNUP_CAPTCHA=off; else SIGNUP_CAPTCHA=on; fi
}

ask_a_throwaway_service() {
    # shellcheck disable=SC2086 # the two ports
    set -- ${PORTS:-$(free_ports)}
    if (($# != 2)); then
        echo 'smoke: PORTS takes two ports, such as PORTS="8080 3000"' >&2
        exit 2
    fi
    if is_listened_on "$1" || is_listened_on "$2"; then
        echo "smoke: something listens on port $1 or $2 already; choose others with PORTS" >&2
        exit 1
    fi
    PORTS="$1 $2"
    DATA=${DATA:-$WORK/data}
    BASE_8080=http://127.0.0.1:$1
    BASE_3000=http://127.0.0.1:$2
    # It takes no setting but these, and hears nothing of the make that runs this script.
    unset "${!AUTHSVC_@}" MAKEFLAGS MFLAGS MAKELEVEL
    ADMIN_NAME="smoke-admin-$(date +%s)-$$"
    AUTHSVC_ADMIN_PASSWORD="Smoke-$RANDOM$RANDOM$RANDOM"
    export AUTHSVC_CAPTCHA_TEST_VALUE="smoke-$RANDOM$RANDOM$RANDOM" AUTHSVC_RATELIMIT_ENABLED=off AUTHSVC_GUESS_LIMIT=off

    make --no-print-directory venv
    start_service on
    make_admin
    every_document on
    stop_service
    start_service off
    every_document off
    stop_service
}

start_service() { # on|off: whether sign-up asks for a captcha
    echo "smoke: a throwaway service on ports $PORTS, sign-up captcha $1" >&2
    AUTHSVC_SIGNUP_CAPTCHA=$1 make --no-print-directory run PORTS="$PORTS" DATA="$DATA" >"$WORK/service.log" 2>&1 &
    until quiet_curl --output /dev/null "$BASE_8080/version" 2>/dev/null; do
        if [[ -z $(jobs -r) ]]; then fail_with 'the service did not start' "$WORK/service.log"; fi
        sleep 0.1
    done
}

make_admin() {
    AUTHSVC_ADMIN_PASSWORD=$AUTHSVC_ADMIN_PASSWORD make --no-print-directory admin NAME="$ADMIN_NAME" DATA="$DATA" \
        >"$WORK/admin.log" 2>&1 || fail_with 'make admin failed' "$WORK/admin.log"
}

stop_service() { # whatever runs in the background
    local job
    for job in $(jobs -p); do
        kill "$job" 2>/dev/null || :
        wait "$job" 2>/dev/null || :
    done
}

free_ports() { # prints two on which nobody listens
    local port found=()
    while ((${#found[@]} < 2)); do
        port=$((20000 + RANDOM % 12000))
        if [[ ${found[*]-} != "$port" ]] && ! is_listened_on "$port"; then found+=("$port"); fi
    done
    echo "${found[@]}"
}

is_listened_on() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

fail_with() { # SENTENCE LOG
    echo "smoke: $1:" >&2
    tail -n 20 "$2" >&2
    exit 1
}

clean_up() {
    trap '' HUP INT TERM # a second signal does not cut this short
    stop_service
    rm -rf "$WORK"
}

if ! command -v curl >/dev/null; then
    echo 'smoke: curl is needed' >&2
    exit 2
fi
cd "$(dirname "$0")/.."
WORK=$(mktemp -d)
trap clean_up EXIT
trap 'trap "" HUP INT TERM; exit 1' HUP INT TERM
if [[ -n ${BASE_8080-}${BASE_3000-} ]]; then ask_a_running_service; else ask_a_throwaway_service; fi
echo "smoke: $PASSED passed, 0 failed"
