#!/bin/sh
# Installs the Debian packages that some tests need, where it may; otherwise prints the line to run.
# Tests whose program is missing are skipped with that reason, never passed.
set -u

packages=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || packages="$packages $2"; }
need chromium chromium
need mosquitto mosquitto
need mosquitto_pub mosquitto-clients
need victoria-metrics victoria-metrics
need influxd influxdb
need strace strace
need haproxy haproxy
need gcc gcc
[ -d /usr/share/fonts/opentype/noto ] || packages="$packages fonts-noto-cjk"
[ -z "$packages" ] && exit 0

line="apt-get install -y --no-install-recommends$packages"
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "Installing for the tests:$packages"
  if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive $line -qq >/dev/null; }; then
    echo "That failed. Run it yourself: apt-get update && $line"
  fi
else
  echo "Some tests will be skipped. To run them too: sudo apt-get update && sudo $line"
fi
exit 0
