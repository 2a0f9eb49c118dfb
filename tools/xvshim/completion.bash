# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for xvshim; installed as completions/xvshim
# shellcheck shell=bash

_xvshim_domains() {
	xl list 2>/dev/null | awk 'NR > 1 && $2 != 0 { print $1 }'
}

# Virtio devices have vendor 1af4.
_xvshim_devices() {
	lspci -D -d 1af4: 2>/dev/null | awk '{ print "pci:" $1 }'
}

_xvshim() {
	local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=
	COMPREPLY=()
	local before=${COMP_WORDS[COMP_CWORD - 1]} head=
	if [ "$before" = --addressing ]; then
		words="grant p2m grant,p2m"
	elif [ "$before" = --protection ]; then
		# The next one of a list.
		[[ $word == *,* ]] && head=${word%,*},
		words="${head}strict ${head}pool ${head}lazy ${head}adaptive"
	elif [ "$COMP_CWORD" = 1 ]; then
		words="attach detach list status translate probe doctor demo gntstress version"
	elif [[ $word == -* ]]; then
		words="--json --run-dir --help"
		case $command in
		attach)
			words+=" --take --timeout --addressing --protection --keep-pages --keep-ms"
			;;
		detach) words+=" --force --timeout" ;;
		probe) words+=" --explain --assignable --root" ;;
		doctor) words+=" --root" ;;
		translate) words+=" --recent" ;;
		gntstress)
			words+=" --sim --mix --batch --ops --duration --seed --chaos --restart --compare --quiet"
			;;
		esac
	elif [ "$COMP_CWORD" = 2 ]; then
		case $command in
		attach | detach | status | translate | gntstress) words=$(_xvshim_domains) ;;
		esac
	elif [ "$command" = attach ] || [ "$command" = detach ] || [ "$command" = status ]; then
		words=$(_xvshim_devices)
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
	# A colon is a word break of readline: offer what follows the last one typed.
	declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$word"
}
complete -F _xvshim xvshim
