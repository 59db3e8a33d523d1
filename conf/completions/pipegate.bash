# shellcheck shell=bash
# bash completion for PipeGate's programs: flags from --help, commands of pipegate-ctl, connection ids from the broker.
_pipegate() {
	local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} i command=
	COMPREPLY=()
	case $before in
	--token-file | --ca-file | --target-ca-file | --key)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--keep-alive) mapfile -t COMPREPLY < <(compgen -W "on off" -- "$word") && return ;;
	--host-header) mapfile -t COMPREPLY < <(compgen -W "keep target" -- "$word") && return ;;
	esac
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null | grep -oE '^ +(-[a-z], )?--[a-z-]+' |
			grep -oE -e '--[a-z-]+')" -- "$word")
		return
	fi
	[[ ${program##*/} == pipegate-ctl ]] || return
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		list | show | kick | revoke | reload | drain | log) command=${COMP_WORDS[i]} ;;
		esac
	done
	case $command in
	"") mapfile -t COMPREPLY < <(compgen -W "list show kick revoke reload drain log" -- "$word") ;;
	list | show | kick | log)
		mapfile -t COMPREPLY < <(compgen -W "$("$program" --json list 2>/dev/null |
			sed -n 's/^ *"id": "\([A-Za-z0-9_-]*\)",*$/\1/p' | sort -u)" -- "$word")
		;;
	esac
}
complete -F _pipegate pipegate-broker pipegate-client pipegate-ctl pipegate-fcgi pipegate-token
