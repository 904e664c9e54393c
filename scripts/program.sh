# shellcheck shell=bash
# Sourced by the scripts of the programs that use a trained model; scripts/demo.sh leaves the model they fall back to.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

DEMO=$ROOT/demo

# has_flag FLAG ARGUMENT...: whether --FLAG is among the arguments, in any spelling that the programs take.
has_flag() {
  local flag=$1 argument
  shift
  for argument in "$@"; do
    argument=${argument%%=*}
    if [[ ${argument//-/_} == "__$flag" ]]; then return 0; fi
  done
  return 1
}

# demo_clip: a clip of the demo's evaluation set.
demo_clip() {
  local folder clip
  { read -r folder && IFS=$'\t' read -r clip _; } <"$DEMO/data/eval.tsv"
  echo "$folder/$clip"
}

# run_program MODULE DEMO_ARGUMENTS ARGUMENT...: python -m ASDA.cli.MODULE ARGUMENT... Where no checkpoint is named the
# demo's is taken; without arguments the function DEMO_ARGUMENTS sets some in the array `defaults`.
run_program() {
  local module=$1 demo_arguments=$2 defaults=()
  shift 2
  if ! has_flag checkpoint_dir "$@" && ! has_flag checkpoint "$@" && [[ " $* " != *" --help "* && " $* " != *" -h "* ]]; then
    [[ -f $DEMO/finetuned/checkpoint_best.pt ]] ||
      die "name a model with --checkpoint_dir, or run \"make demo\" first, which leaves one in $DEMO"
    if (($# == 0)); then "$demo_arguments"; fi
    set -- --checkpoint_dir "$DEMO/finetuned/checkpoint_best.pt" "${defaults[@]}" "$@"
    say "using the demo's model: $*"
  fi
  exec "$PYTHON" -m "ASDA.cli.$module" "$@"
}
