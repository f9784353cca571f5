# Makes a cluster if there is none, and runs a server on it for no longer than the test process lives,
# which holds the other end of stdin.
#
#   $1    the directory, to be removed when the test process is gone; the cluster is in its folder `data`
#   $2    initdb
#   $3..  the server's command line
#
# Tells the server's process id on stdout, or nothing when there is no cluster. What goes wrong and the
# server's log go to stderr; after the start only the server's processes keep that open, so that its end
# means the end of all of them.
directory=$1 initdb=$2
shift 2

# A test process that is gone early, while initdb runs, must not take this shell with it when it writes.
trap '' PIPE

# What the tests can make anew need not be synced; what the server writes later is.
cluster() {
  [ -d "$directory/data" ] ||
    "$initdb" --auth=trust --username=wasmill --no-sync --encoding=UTF8 --locale=C -D "$directory/data"
}

server=
if cluster </dev/null >&2; then
  "$@" </dev/null >/dev/null &
  server=$!
  echo "$server"
fi
exec >/dev/null 2>&1

# A line: the test has stopped the server itself, and keeps the directory. The end: drop, or no process.
if read -r _; then
  wait $server
else
  # QUIT is the immediate shutdown, but until the server handles signals it is ignored (a shell's
  # background jobs ignore it), and then TERM ends it. CONT, since the server may be paused.
  kill -TERM $server
  kill -QUIT $server
  kill -CONT $server
  wait $server
  rm -rf "$directory"
fi
