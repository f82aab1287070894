"""The scripts that `labwright completion` prints: each asks the Python that lies beside `labwright` for candidates."""

from __future__ import annotations

SCRIPTS = {
    "bash": r"""
_labwright_completion() {
    local program python line current cut="" candidate i width=0
    local -a candidates=() abouts=()
    program=$(type -P -- "${COMP_WORDS[0]}")
    python="${program%/*}/python"
    [[ -x $python ]] || python=@PYTHON@
    current=${COMP_LINE:0:COMP_POINT}
    while IFS= read -r line; do
        candidates+=("${line%%$'\t'*}")
        abouts+=("${line#*$'\t'}")
    done < <("$python" -P -m labwright_instruments.completion bash "$current" 2>/dev/null)
    # where = parts words, readline completes what comes after it
    current=${current##*[[:space:]]}
    if [[ $COMP_WORDBREAKS == *=* && $current == *=* ]]; then cut=${current%"${current##*=}"}; fi
    COMPREPLY=()
    for i in "${!candidates[@]}"; do
        printf -v candidate %q "${candidates[i]#"$cut"}"
        COMPREPLY+=("$candidate")
        (( ${#candidate} > width )) && width=${#candidate}
    done
    if (( ${#COMPREPLY[@]} == 1 )); then
        [[ ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace 2>/dev/null
    elif (( COMP_TYPE != 37 && COMP_TYPE != 42 )); then  # a menu would insert what is said of a candidate
        for i in "${!COMPREPLY[@]}"; do
            [[ -n ${abouts[i]} ]] || continue
            printf -v line "%-${width}s  (%s)" "${COMPREPLY[i]}" "${abouts[i]}"
            (( ${#line} >= ${COLUMNS:-80} )) && line="${line:0:${COLUMNS:-80}-5}...)"
            COMPREPLY[i]=$line
        done
        compopt -o nospace 2>/dev/null
    fi
}
complete -o nosort -F _labwright_completion labwright 2>/dev/null || complete -F _labwright_completion labwright
""",
    "zsh": r"""
#compdef labwright
_labwright() {
    local program=${commands[labwright]} line candidate
    local python=${program:h}/python
    local -a ended ended_said open open_said
    [[ -x $python ]] || python=@PYTHON@
    local -a given=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    for line in "${(@f)$($python -P -m labwright_instruments.completion zsh "${(@)given}" 2>/dev/null)}"; do
        candidate=${line%%$'\t'*}
        [[ -n $candidate ]] || continue
        line=${line#*$'\t'}
        if [[ $candidate == *[=./] ]]; then
            open+=("$candidate") open_said+=("$candidate${line:+  -- $line}")
        else
            ended+=("$candidate") ended_said+=("$candidate${line:+  -- $line}")
        fi
    done
    compadd -V settings -S '' -l -d open_said -a open
    compadd -V names -l -d ended_said -a ended
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _labwright labwright
""",
    "fish": r"""
function __labwright_completion
    set -l program (command -s labwright)
    set -l python (dirname -- $program)/python
    test -x $python; or set python @PYTHON@
    $python -P -m labwright_instruments.completion fish (commandline -opc) (commandline -ct) 2>/dev/null
end
complete --command labwright --erase
complete --command labwright --no-files --keep-order --arguments '(__labwright_completion)'
""",
}
