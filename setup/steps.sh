# Sourced: `step` runs one long command, says what it is doing and for how long, and keeps its output in a log.

readonly CACHE=/var/cache/vmsandbox
readonly LOGS=$CACHE/log

# step NAME TEXT COMMAND...: run COMMAND with its output in $LOGS/NAME.log. On a terminal a counter appears after
# two seconds; elsewhere a line is printed now and then. On failure the log's tail is shown and the script ends.
step() {
    local name=$1 text=$2 start=$SECONDS child status=0
    shift 2
    mkdir -p "$LOGS"
    [ -t 1 ] || echo "$text"
    set -m  # a process group of its own, so that Ctrl-C can end all of it
    "$@" >"$LOGS/$name.log" 2>&1 </dev/null &
    child=$!
    set +m
    trap 'kill -TERM -- "-$child" 2>/dev/null; wait "$child"; echo; exit 130' INT TERM
    show_time "$child" "$text" "$start"
    wait "$child" || status=$?
    trap - INT TERM
    [ "$status" = 0 ] || fail "$name" "$text" "$status"
    printf '%s%s: done, %d s\n' "$(carriage)" "$text" $((SECONDS - start))
}

carriage() { if [ -t 1 ]; then printf '\r\033[K'; fi; }

show_time() {
    local child=$1 text=$2 start=$3 elapsed every=1
    [ -t 1 ] || every=15
    while kill -0 "$child" 2>/dev/null; do
        elapsed=$((SECONDS - start))
        if [ $elapsed -ge 2 ] && [ $((elapsed % every)) = 0 ]; then
            if [ -t 1 ]; then printf '%s%s: %d s' "$(carriage)" "$text" $elapsed
            else echo "$text: $elapsed s"; fi
        fi
        # Ends at once when the child does, and after a second otherwise.
        timeout 1 tail --pid="$child" -s 0.1 -f /dev/null || true
    done
}

fail() {
    printf '%s%s: failed with status %d. The end of %s:\n' "$(carriage)" "$2" "$3" "$LOGS/$1.log"
    tail -n 25 "$LOGS/$1.log" | sed 's/^/    /'
    exit 1
} >&2
