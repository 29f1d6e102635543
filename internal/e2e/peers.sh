#!/bin/bash
# Installs the programs that the end-to-end tests talk to, and runs a command
# with the variables that tell where they are.
#
#   peers.sh            installs what is missing and prints the variables
#   peers.sh COMMAND…   the same, then runs COMMAND with the variables set
#
# WEIR_CACHE is the folder for what is installed, $HOME/.cache/weir by default.
# Variables that are set already are left alone:
#   WEIR_PYTHON     a Python with peers/requirements.txt
#   WEIR_PYTHON_SLAPOS  a Python with peers/slapos.txt
#   WEIR_PYTHON_CONTRACT  a Python with peers/contract.txt
#   WEIR_NODE       node itself
#   WEIR_NODE_PATH  a node_modules folder with peers/package.json
#   WEIR_CHROMIUM   a Chromium that runs headless
#   WEIR_ZOOKEEPER  the class path of ZooKeeper, whose servers java runs
#   WEIR_NGINX      nginx, which the benchmarks of uploads and reads compare with
#   WEIR_GOPEERS    a folder with the programs of gopeers, a module of its own
# What cannot be had is told in one line and left unset, so that its tests are
# skipped; with CI=true it is a failure.
set -u -o pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/weir}
log=$cache/peers.log
missing=0

say() { echo "peers: $*" >&2; }

lacking() {
	say "no $1: $2"
	missing=1
}

# stamp FILE… names a state of the given files.
stamp() { cat "$@" | sha256sum | cut -c1-16; }

# retry COMMAND… runs a command up to three times: a download may fail once.
retry() {
	local pause
	for pause in 5 25; do
		"$@" && return
		say "again in $pause s: $*"
		sleep "$pause"
	done
	"$@"
}

# apt PACKAGE… installs Debian packages; it fails where that is not possible.
apt() {
	type -P apt-get >/dev/null || { echo "no apt-get on this system" >>"$log"; return 1; }
	[ "$(id -u)" = 0 ] || { echo "not root, cannot install $*" >>"$log"; return 1; }
	if [ -z "${updated:-}" ]; then
		retry apt-get -o Acquire::Retries=3 -o APT::Update::Error-Mode=any update >>"$log" 2>&1 </dev/null
		updated=1
	fi
	DEBIAN_FRONTEND=noninteractive retry apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
		install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null
}

# need COMMAND PACKAGE… installs packages unless the command is there.
need() {
	local command=$1
	shift
	type -P "$command" >/dev/null && return
	say "installing $*"
	apt "$@" && type -P "$command" >/dev/null
}

get_python() {
	[ -n "${WEIR_PYTHON:-}" ] && return
	need python3 python3 python3-venv || { lacking python3 "install Python 3.11 or later"; return; }
	if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		lacking "Python 3.11" "python3 is $(python3 --version 2>&1)"
		return
	fi
	local pins venv
	pins=$(python3 --version 2>&1 | cat - "$here/peers/requirements.txt" | stamp -)
	venv=$cache/python-$pins
	if [ ! -e "$venv/.done" ]; then
		say "installing the Python packages into $venv"
		rm -rf "$venv"
		python3 -c 'import ensurepip' 2>/dev/null || apt python3-venv
		if ! { python3 -m venv "$venv" && retry "$venv/bin/pip" install --disable-pip-version-check --retries 5 \
			-r "$here/peers/requirements.txt" && touch "$venv/.done"; } >>"$log" 2>&1 </dev/null; then
			lacking "the Python packages" "$(tail -n 1 "$log"); see $log"
			return
		fi
	fi
	export WEIR_PYTHON=$venv/bin/python
}

# get_slapos makes a Python of its own for slapos.core, whose pins differ.
get_slapos() {
	[ -n "${WEIR_PYTHON_SLAPOS:-}" ] && return
	type -P python3 >/dev/null || { lacking slapos.core "there is no python3"; return; }
	local pins venv site
	pins=$(python3 --version 2>&1 | cat - "$here/peers/slapos.txt" "$here/peers/slapos_old_python.py" | stamp -)
	venv=$cache/slapos-$pins
	if [ ! -e "$venv/.done" ]; then
		say "installing slapos.core into $venv"
		rm -rf "$venv"
		if ! { python3 -m venv "$venv" && retry "$venv/bin/pip" install --disable-pip-version-check --retries 5 \
			-r "$here/peers/slapos.txt" &&
			site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])') &&
			cp "$here/peers/slapos_old_python.py" "$site/" && echo 'import slapos_old_python' >"$site/slapos_old_python.pth" &&
			touch "$venv/.done"; } >>"$log" 2>&1 </dev/null; then
			lacking slapos.core "$(tail -n 1 "$log"); see $log"
			return
		fi
	fi
	export WEIR_PYTHON_SLAPOS=$venv/bin/python
}

# get_contract makes a Python of its own for schemathesis, whose pins are many.
get_contract() {
	[ -n "${WEIR_PYTHON_CONTRACT:-}" ] && return
	type -P python3 >/dev/null || { lacking schemathesis "there is no python3"; return; }
	local venv
	venv=$cache/contract-$(python3 --version 2>&1 | cat - "$here/peers/contract.txt" | stamp -)
	if [ ! -e "$venv/.done" ]; then
		say "installing schemathesis and influxdb-client into $venv"
		rm -rf "$venv"
		if ! { python3 -m venv "$venv" && retry "$venv/bin/pip" install --disable-pip-version-check --retries 5 \
			-r "$here/peers/contract.txt" && touch "$venv/.done"; } >>"$log" 2>&1 </dev/null; then
			lacking schemathesis "$(tail -n 1 "$log"); see $log"
			return
		fi
	fi
	export WEIR_PYTHON_CONTRACT=$venv/bin/python
}

get_node() {
	if [ -z "${WEIR_NODE:-}" ]; then
		need node nodejs || { lacking node "install Node.js 18 or later"; return; }
		WEIR_NODE=$(type -P node)
		export WEIR_NODE
	fi
	[ -n "${WEIR_NODE_PATH:-}" ] && return
	need npm npm || { lacking npm "install npm"; return; }
	local dir
	dir=$cache/node-$(stamp "$here/peers/package.json" "$here/peers/package-lock.json")
	if [ ! -e "$dir/.done" ]; then
		say "installing the Node.js packages into $dir"
		rm -rf "$dir"
		mkdir -p "$dir"
		cp "$here/peers/package.json" "$here/peers/package-lock.json" "$dir/"
		if ! { (cd "$dir" && retry npm ci --no-audit --no-fund) && touch "$dir/.done"; } >>"$log" 2>&1 </dev/null; then
			lacking "the Node.js packages" "$(tail -n 1 "$log"); see $log"
			return
		fi
	fi
	export WEIR_NODE_PATH=$dir/node_modules
}

get_chromium() {
	[ -n "${WEIR_CHROMIUM:-}" ] && return
	local name
	for name in chromium chromium-browser google-chrome; do
		type -P $name >/dev/null && break
	done
	if ! type -P $name >/dev/null; then
		name=chromium
		say "installing chromium"
		apt chromium fonts-dejavu-core || { lacking chromium "$(tail -n 1 "$log"); see $log"; return; }
	fi
	WEIR_CHROMIUM=$(type -P $name)
	export WEIR_CHROMIUM
}

get_zookeeper() {
	[ -n "${WEIR_ZOOKEEPER:-}" ] && return
	need java default-jre-headless || { lacking java "install a Java runtime"; return; }
	local jar=/usr/share/java/zookeeper.jar
	if [ ! -e $jar ]; then
		say "installing libzookeeper-java"
		apt libzookeeper-java || { lacking ZooKeeper "$(tail -n 1 "$log"); see $log"; return; }
	fi
	export WEIR_ZOOKEEPER=$jar
}

# get_nginx unpacks Debian's nginx into the cache: installed, it would be started.
get_nginx() {
	[ -n "${WEIR_NGINX:-}" ] && return
	if type -P nginx >/dev/null; then
		WEIR_NGINX=$(type -P nginx)
		export WEIR_NGINX
		return
	fi
	local dir=$cache/nginx
	if [ ! -e "$dir/.done" ]; then
		say "unpacking nginx into $dir"
		rm -rf "$dir"
		mkdir -p "$dir"
		if ! (cd "$dir" && retry apt-get -o Acquire::Retries=3 download nginx && dpkg -x nginx_*.deb . && rm nginx_*.deb &&
			usr/sbin/nginx -v && touch .done) >>"$log" 2>&1 </dev/null; then
			lacking nginx "$(tail -n 1 "$log"); see $log"
			return
		fi
	fi
	export WEIR_NGINX=$dir/usr/sbin/nginx
}

get_gopeers() {
	[ -n "${WEIR_GOPEERS:-}" ] && return
	type -P go >/dev/null || { lacking "Go programs" "there is no go"; return; }
	local dir
	dir=$cache/gopeers-$({ go version; cat "$here"/gopeers/go.* "$here"/gopeers/*/*.go; } | stamp -)
	if [ ! -e "$dir/.done" ]; then
		say "building the Go programs into $dir"
		rm -rf "$dir"
		mkdir -p "$dir"
		if ! { (cd "$here/gopeers" && GOWORK=off retry go build -o "$dir/" ./...) && touch "$dir/.done"; } >>"$log" 2>&1 </dev/null; then
			lacking "Go programs" "$(tail -n 1 "$log"); see $log"
			return
		fi
	fi
	export WEIR_GOPEERS=$dir
}

# get_modules downloads what the module and its tools are built from. What cannot
# be had is told by who needs it.
get_modules() {
	type -P go >/dev/null || return
	(cd "$here/../.." && retry go mod download && retry go mod download -modfile=internal/tools/go.mod) >>"$log" 2>&1 </dev/null ||
		say "not all Go modules were downloaded: $(tail -n 1 "$log")"
}

mkdir -p "$cache" || exit 1
# One installation at a time in one cache.
exec 9>"$cache/lock"
flock 9 2>/dev/null || true
: >"$log"
# The race detector needs a C compiler.
need "${CC:-gcc}" gcc libc6-dev || lacking gcc "install a C compiler"
need curl curl ca-certificates || lacking curl "install curl"
get_modules
get_python
get_slapos
get_contract
get_node
get_chromium
get_zookeeper
get_nginx
get_gopeers
exec 9>&-

if [ $missing = 1 ] && [ "${CI:-}" = true ]; then
	say "with CI=true that is a failure"
	sed 's/^/peers:   /' "$log" | tail -n 40 >&2
	exit 1
fi
if [ $# = 0 ]; then
	for name in WEIR_PYTHON WEIR_PYTHON_SLAPOS WEIR_PYTHON_CONTRACT WEIR_NODE WEIR_NODE_PATH WEIR_CHROMIUM WEIR_ZOOKEEPER WEIR_NGINX WEIR_GOPEERS; do
		[ -n "${!name:-}" ] && echo "$name=${!name}"
	done
	exit 0
fi
exec "$@"
