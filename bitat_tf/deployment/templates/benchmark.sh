#!/usr/bin/env bash
# Measures model.tflite with the benchmark program of larq-compute-engine v@LCE_VERSION@, the version that wrote it.
#
#   ./benchmark.sh android [PROGRAM]   on the phone that adb sees
#   ./benchmark.sh here [PROGRAM]      on this board: 64-bit ARM Linux
#
# PROGRAM is lce_benchmark_model for the device; without it, it is fetched from the release. The environment may set
# THREADS (1), RUNS (50), KERNEL_FLAGS, and XNNPACK (false; true is faster where the network has float operators, but
# the profile may then show them as one).
set -euo pipefail
cd "$(dirname "$0")"

TAG=v@LCE_VERSION@
WHERE=${1:-}
PROGRAM=${2:-}
THREADS=${THREADS:-1}
RUNS=${RUNS:-50}
XNNPACK=${XNNPACK:-false}
KERNEL_FLAGS=${KERNEL_FLAGS:-@KERNEL_FLAGS@}
FOLDER=/data/local/tmp/bitat

fail() {
    echo "benchmark.sh: $1" >&2
    exit 1
}

fetch() {
    PROGRAM=./$1-$TAG
    if [ ! -s "$PROGRAM" ]; then
        curl -fL -o "$PROGRAM.part" "https://github.com/larq/compute-engine/releases/download/$TAG/$1" ||
            fail "the release $TAG does not have $1, or cannot be reached: README.md says how to build it"
        mv "$PROGRAM.part" "$PROGRAM"
    fi
    chmod +x "$PROGRAM"
}

case "$WHERE" in
android)
    command -v adb >/dev/null || fail "adb is not installed"
    [ "$(adb get-state 2>/dev/null)" = device ] || fail "adb sees no phone, or more than one: 'adb devices' lists them"
    ABI=$(adb shell getprop ro.product.cpu.abi | tr -d '\r')
    [ "$ABI" = arm64-v8a ] || fail "only arm64-v8a has fast binary kernels. The phone has $ABI"
    [ -n "$PROGRAM" ] || fetch lce_benchmark_model_android_arm64
    adb shell mkdir -p "$FOLDER"
    adb push "$PROGRAM" "$FOLDER/lce_benchmark_model"
    adb push model.tflite "$FOLDER/model.tflite"
    adb shell chmod +x "$FOLDER/lce_benchmark_model"
    run() { adb shell "$FOLDER/lce_benchmark_model --graph=$FOLDER/model.tflite $*" 2>&1; }
    ;;
here)
    [ "$(uname -m)" = aarch64 ] || fail "a 64-bit ARM system is needed. This one is $(uname -m)"
    [ -n "$PROGRAM" ] || fetch lce_benchmark_model_aarch64
    [ -x "$PROGRAM" ] || fail "$PROGRAM is no program"
    case "$PROGRAM" in */*) ;; *) PROGRAM=./$PROGRAM ;; esac
    run() { "$PROGRAM" --graph=model.tflite "$@" 2>&1; }
    ;;
*)
    fail "'android' or 'here' is expected as the first argument. Received: '$WHERE'"
    ;;
esac

measure() {
    # KERNEL_FLAGS holds any number of flags.
    # shellcheck disable=SC2086
    run --num_threads="$THREADS" --num_runs="$RUNS" --use_xnnpack="$XNNPACK" $KERNEL_FLAGS "$@"
}

# The profiler takes time of its own, so the time is taken without it.
measure | tee timing.txt
measure --enable_op_profiling=true | tee profile.txt
grep -q 'Inference timings in us' timing.txt || fail "the benchmark did not come to its end: see above"
echo "timing.txt: the time. profile.txt: the time of each operator, for bitat_tf.deployment.parse_profile"
