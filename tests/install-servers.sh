#!/bin/sh
# Installs the servers that the tests run privately, where they are missing. None of them is started or enabled.
#
#   install-servers.sh            install what is missing (needs root and apt); print nothing when all is there
#   install-servers.sh --check    list the packages that are missing; exit status 1 if there are any
set -eu

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
POLICY=/usr/sbin/policy-rc.d

# Prints the packages of which a program is not to be found, one to a line.
missing_packages() {
    while read -r package programs; do
        for program in $programs; do
            if ! command -v "$program" >/dev/null && ! [ -e "$program" ]; then
                echo "$package"
                break
            fi
        done
    done <<END
mariadb-server mariadbd mariadb-install-db
redis-server redis-server
nginx-light nginx
faketime faketime
rsync rsync
systemd systemd-analyze
nodejs node
npm npm
curl curl
chromium chromium
fonts-noto-cjk /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc
END
}

# Makes Debian's maintainer scripts start no service until this script ends, whichever way it ends.
forbid_service_starts() {
    if [ -e "$POLICY" ]; then
        return
    fi
    trap 'rm -f "$POLICY"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\n# Put here by install-servers.sh of authsvc while it runs; a left-over one can be deleted.\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
}

# Keeps what has just been installed from starting with the machine.
disable_services() {
    for package in "$@"; do
        case $package in
            mariadb-server) service=mariadb ;;
            redis-server) service=redis-server ;;
            nginx-light) service=nginx ;;
            *) continue ;;
        esac
        update-rc.d "$service" disable
    done
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    forbid_service_starts
    apt-get -qq -o DPkg::Lock::Timeout=300 update
    apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
    disable_services "$@"
}

missing=$(missing_packages)

case "${1-}" in
    --check)
        [ -z "$missing" ] && exit 0
        echo "$missing"
        exit 1
        ;;
    ?*)
        echo "install-servers.sh: unknown argument: $1 (there is only --check)" >&2
        exit 2
        ;;
esac

if [ -z "$missing" ]; then
    exit 0
fi

# One word to a package from here on.
# shellcheck disable=SC2086
set -- $missing

if ! command -v apt-get >/dev/null; then
    echo "install-servers.sh: no apt on this machine; install by hand: $*" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "install-servers.sh: installing $* needs root: sudo make test-servers" >&2
    exit 1
fi

echo "Installing for the tests (nothing is started): $*"
install_packages "$@"

missing=$(missing_packages)
if [ -n "$missing" ]; then
    echo "install-servers.sh: still missing after the installation:" "$missing" >&2
    exit 1
fi
