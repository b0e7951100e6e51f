#!/usr/bin/env bash
# Sets up the course in a service of Onyxia, which runs, before the service starts,
#     curl ADDRESS_OF_THIS_FILE | bash -s -- NOTEBOOK
# Everything is in functions, and the last line is whole or does nothing: of a
# download that breaks off, nothing is executed. What follows the clone is in
# prepare_service.py of the clone, so that no second script is downloaded.

service=jupyter # the one line in which init-jupyter.sh and init-vscode.sh differ

usage() {
    cat <<END
Usage: init-$service.sh NOTEBOOK [options]

Puts the notebooks of the course into the work folder and has the service open NOTEBOOK,
such as 13_parquet. A notebook that you changed is never overwritten: a newer version of
it is put beside it, as NOTEBOOK.new-version.ipynb.

  --version VERSION        tag or commit (all 40 digits) of the course
  --repository REPOSITORY  https address of its Git repository, or OWNER/NAME on GitHub
  --solutions              leave the solutions of the exercises in the notebooks
  --help                   show this text

Version and repository need not be given: they are taken from the address of this script,
which Onyxia has in PERSONAL_INIT_SCRIPT. It has one of these forms:

  https://raw.githubusercontent.com/OWNER/NAME/VERSION/init-scripts/init-$service.sh
  https://HOST/GROUP/NAME/-/raw/VERSION/init-scripts/init-$service.sh

A copy at any other address, such as a public object of your store, needs both options.

In a launch link the address is init.personalInit, NOTEBOOK and options, separated by
spaces, are init.personalInitArgs. A problem is explained in COURSE-SETUP.md in the work
folder; the service starts all the same.
END
}

say() { printf '%s\n' "$@"; }
err() { printf '%s\n' "$@" >&2; }

# note TITLE TEXT...: tell the student, in a file that is written whole or not at all.
note() {
    local last="Each start of the service writes this file anew, and removes it if all is well."
    local text unfinished="$work/.COURSE-SETUP.md.$$"
    text=$(printf '# %s\n' "$1" && printf '\n%s\n' "${@:2}" "$last")
    if ! { printf '%s\n' "$text" >"$unfinished" && give "$unfinished" &&
        mv -f "$unfinished" "$work/COURSE-SETUP.md"; } 2>/dev/null; then
        rm -f "$unfinished" 2>/dev/null
        err "COURSE-SETUP.md could not be written in $work."
    fi
}

# fail PROBLEM NEXT_STEP
fail() {
    err "init-$service.sh: $1" "$2"
    note "The course could not be set up" "$1" "$2" \
        "The service itself works, and nothing of yours was changed."
    exit 1
}

# shown TEXT: what was given, fit for a message.
shown() {
    local text=${1//[^[:print:]]/?}
    if [ ${#text} -gt 80 ]; then text="${text:0:80}..."; fi
    printf '"%s"' "$text"
}

# Who the service runs as: all files are to be theirs, even where this runs as root.
find_user() {
    local name
    user=$(id -u)
    if [ "$user" = 0 ]; then
        user=$(stat -c %u "$work")
        for name in "${SUDO_USER-}" "${USERNAME-}" onyxia; do
            if [ "$user" = 0 ]; then user=$(id -u "$name" 2>/dev/null) || user=0; fi
        done
    fi
}

give() { if [ "$(id -u)" != "$user" ]; then chown -R "$user" "$1"; fi; }

read_arguments() {
    local help="See init-$service.sh --help, printed in the log of the service, for what can be given."
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help)
            usage
            exit
            ;;
        --solutions) solutions=(--solutions) ;;
        --version | --repository)
            if [ $# -lt 2 ] || [[ -z $2 || $2 == -* ]]; then
                usage
                fail "The option $1 lacks its value." "$help"
            fi
            if [ "$1" = --version ]; then version=$2; else repository=$2; fi
            shift
            ;;
        -*)
            usage
            fail "There is no option $(shown "$1")." "$help"
            ;;
        *)
            if [ -n "$notebook" ]; then
                usage
                fail "One notebook can be opened, not both $(shown "$notebook") and $(shown "$1")." "$help"
            fi
            notebook=${1%.ipynb}
            if ! [[ $notebook =~ ^$name$ ]]; then
                fail "$(shown "$1") cannot be the name of a notebook." \
                    "A name, such as 13_parquet, consists of letters, digits, _, - and dots."
            fi
            ;;
        esac
        shift
    done
    if [ -z "$notebook" ]; then
        usage
        fail "No notebook was named." \
            "Give its name as argument of the script (init.personalInitArgs), such as 13_parquet."
    fi
}

# Which course: as the options say, else as the address does that this script came from.
find_course() {
    local address=${PERSONAL_INIT_SCRIPT-} missing='' host='[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?'
    local file='init-scripts/init-(jupyter|vscode)\.sh'
    local github="^https://raw\.githubusercontent\.com/($name/$name)/(refs/tags/)?($name)/$file$"
    local gitlab="^https://($host/$name(/$name)+)/-/raw/(refs/tags/)?($name)/$file(\?[A-Za-z0-9_=&-]*)?$"
    if [[ $address =~ $github ]]; then
        : "${repository:=https://github.com/${BASH_REMATCH[1]}}" "${version:=${BASH_REMATCH[3]}}"
    elif [[ $address =~ $gitlab ]]; then
        : "${repository:=https://${BASH_REMATCH[1]}.git}" "${version:=${BASH_REMATCH[5]}}"
    fi
    if [ -z "$repository" ]; then missing=--repository; fi
    if [ -z "$version" ]; then missing=${missing:+$missing and }--version; fi
    if [ -n "$missing" ]; then
        usage
        fail "It is not known which course to fetch. The address of the script (init.personalInit) \
is $(shown "$address"), which does not name it as an address at GitHub or GitLab does, and the arguments \
of the script (init.personalInitArgs) lack $missing." \
            "Add $missing to the arguments, or correct the address."
    fi
    if [[ $repository =~ ^$name/$name$ ]]; then repository=https://github.com/$repository; fi
    if ! [[ $repository =~ ^https://$host(/$name)+/?$ ]]; then
        fail "$(shown "$repository") is no repository that can be fetched." \
            "Give an https address without user and password, or OWNER/NAME for GitHub."
    fi
    if ! [[ $version =~ ^$name$ ]]; then
        fail "$(shown "$version") cannot be a version." \
            "Give a tag of letters, digits, _, - and dots, or the 40 digits of a commit."
    fi
}

find_python() {
    for python in python3 python; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
    done
    fail "This service has no Python 3.11 or newer." \
        "Choose a service with Python, with the image that Onyxia proposes."
}

# A server that does not answer is given up, long before Onyxia gives up the service.
git_course() { timeout 60 git -C "$scratch/course" "$@"; }

# The files that students need, of one commit: no history, and of the rest no content.
clone() {
    local ref=refs/tags/$version
    if [[ $version =~ ^[0-9a-f]{40}$ ]]; then ref=$version; fi
    if ! [ -d "$scratch/course/.git" ]; then
        git_course init --quiet &&
            git_course remote add origin "$repository" &&
            git_course sparse-checkout set --no-cone /notebooks/ '/init-scripts/*.py' || return
    fi
    git_course fetch --quiet --depth 1 --no-tags --filter=blob:none origin "$ref" &&
        git_course -c advice.detachedHead=false checkout --quiet FETCH_HEAD
}

fetch_course() {
    local attempt said course="version $version of $repository"
    export GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=true
    export GIT_HTTP_LOW_SPEED_LIMIT=1000 GIT_HTTP_LOW_SPEED_TIME=30
    if ! command -v git >/dev/null; then
        fail "The course cannot be fetched: this service has no git." \
            "Choose the image that Onyxia proposes, which has it."
    fi
    for attempt in 1 2; do
        say "Fetching $course..."
        if said=$(clone 2>&1); then return; fi
        case $said in
        *"No space left"*)
            fail "The course could not be fetched: the disk is full, at $scratch." \
                "Delete files that you do not need, or start a service with a larger disk."
            ;;
        *"find remote ref"* | *"not our ref"* | *"unadvertised object"*)
            fail "There is no $course." \
                "A version is a tag or the 40 digits of a commit; a branch is none, since it changes \
while you work. Correct the address of the script (init.personalInit) or --version."
            ;;
        *" not found"* | *"not exist"* | *"Authentication failed"* | *"could not read Username"*)
            fail "The repository $repository does not exist, or is not public." \
                "Ask who gave you the link for a new one."
            ;;
        esac
        if [ "$attempt" = 1 ]; then sleep 3; fi
    done
    said=$(grep -m 1 -E '^(fatal|error):' <<<"$said")
    fail "The course could not be fetched (${said:-no answer in time}): $course." \
        "Restart the service in a few minutes. If that does not help, ask whether services \
of this platform reach ${repository%/*/*}."
}

main() {
    local notebook='' version='' repository='' solutions=() python user scratch='' work=$PWD said code
    local name='[A-Za-z0-9_][A-Za-z0-9._-]*'
    export LC_ALL=C # or [A-Z] has other letters in it, and git speaks other languages
    find_user
    read_arguments "$@"
    find_course
    find_python
    if ! scratch=$(mktemp -d 2>/dev/null) || ! mkdir "$scratch/course"; then
        fail "No temporary folder can be made in ${TMPDIR:-/tmp}." \
            "Restart the service; its disk may be full."
    fi
    # shellcheck disable=SC2064 # the name as it is now: main's variables end before the shell
    trap "$(printf 'rm -rf %q' "$scratch")" EXIT
    fetch_course
    give "$scratch"
    if ! [ -f "$scratch/course/init-scripts/prepare_service.py" ]; then
        fail "Version $version of $repository is not this course: it lacks init-scripts/prepare_service.py." \
            "Correct --version and --repository, or the address of the script (init.personalInit)."
    fi
    # its stdout is the log; its stderr is for the student
    {
        said=$("$python" "$scratch/course/init-scripts/prepare_service.py" "$service" "$notebook" \
            "$work" --user "$user" "${solutions[@]}" 2>&1 >&3)
        code=$?
    } 3>&1
    if [ $code != 0 ]; then
        fail "${said:-The course could not be set up: Python ended with code $code.}" \
            "Version $version of $repository."
    elif [ -n "$said" ]; then
        err "$said"
        note "The course is here, with a remark" "$said"
    else
        rm -f "$work/COURSE-SETUP.md" 2>/dev/null
    fi
    say "The course is ready: $notebook.ipynb."
}

{ main "$@" </dev/null; exit; }
