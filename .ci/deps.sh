#!/bin/sh
# Installs the Debian packages that the live tests need, where root and apt-get are there; else says what is missing.
set -e
packages="iptables nftables conntrack tcpdump tshark iproute2 procps iputils-ping ipset docker.io busybox-static tmux chromium chromium-driver fonts-dejavu-core"
missing=""
for pair in iptables:iptables-nft-save nftables:nft conntrack:conntrack tcpdump:tcpdump tshark:tshark iproute2:ip \
    procps:sysctl iputils-ping:ping ipset:ipset docker.io:dockerd busybox-static:busybox tmux:tmux \
    chromium:chromium chromium-driver:chromedriver; do
    command -v "${pair#*:}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair#*:}" ] || [ -x "/sbin/${pair#*:}" ] \
        || missing="$missing ${pair%%:*}"
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "deps: not installed:$missing; as root on Debian: apt-get install $packages. Tests that need them are skipped." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# The tests start an engine of their own in a namespace: installing one must not start it on this machine.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap "rm -f /usr/sbin/policy-rc.d" EXIT
    printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing
