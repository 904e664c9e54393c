#!/usr/bin/env bash
# The same as: scripts/finetune.sh FSD50K [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec "$PYTHON" -m ASDA.cli.train --program "$0" finetuning FSD50K "$@"
