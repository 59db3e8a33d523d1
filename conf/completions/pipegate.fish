# fish completion for PipeGate's programs: flags from --help, commands of pipegate-ctl, connection ids from the broker.
function __pipegate_flags
    set -l program (commandline -opc)[1]
    $program --help 2>/dev/null | string match -rg '^ +(?:-[a-z], )?(--[a-z-]+)'
end
function __pipegate_ids
    pipegate-ctl --json list 2>/dev/null | string match -rg '^ *"id": "([A-Za-z0-9_-]*)"' | sort -u
end
for program in pipegate-broker pipegate-client pipegate-ctl pipegate-fcgi pipegate-token
    complete -c $program -n 'string match -q -- "-*" (commandline -ct)' -f -a '(__pipegate_flags)'
end
set -l commands list show kick revoke reload drain log
complete -c pipegate-ctl -f -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c pipegate-ctl -f -n '__fish_seen_subcommand_from list show kick log' -a '(__pipegate_ids)'
