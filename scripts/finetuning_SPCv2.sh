#!/usr/bin/env bash
# The same as: scripts/finetune.sh SPCv2 [key=value ...]
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

exec "$PYTHON" -m ASDA.cli.train --program "$0" finetuning SPCv2 "$@"
