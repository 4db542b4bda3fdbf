# What raftkv-sim would ignore, it refuses: exit status 2, and what to do instead.
#
#   cmake -DSIM=bin/raftkv-sim -P refused_options.cmake

function(refused options words)
  separate_arguments(arguments UNIX_COMMAND "${options}")
  execute_process(COMMAND ${SIM} ${arguments} TIMEOUT 60
    RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE err)
  if(NOT status EQUAL 2 OR NOT err MATCHES "${words}")
    message(SEND_ERROR "raftkv-sim ${options}: exit status ${status}\n${out}${err}")
  endif()
endfunction()

refused("--for 0s" "runs nothing: give it more time")
refused("--for soon" "is no duration like 90s")
refused("--seeds 0" "runs nothing: give a number from 1")
refused("--seed 1 --seeds 0" "runs nothing: give a number from 1")
refused("--seeds 2 --for 1s" "give one of them")
foreach(option "--keep 0" "--history h.jsonl" "--events" "--same-process")
  refused("${option}" "is for one run: give its --seed\n")
  refused("--seeds 1 ${option}" "is for one run: give its --seed\n")
  refused("--seed 1 --seeds 1 ${option}" "is for one run: give its --seed, without --seeds and --for")
  refused("--seed 1 --for 1s ${option}" "is for one run: give its --seed, without --seeds and --for")
endforeach()
refused("--seed 1 --keep 99999" "'99999' is no fault of this run, whose schedule has 0 to [0-9]+; give some")
refused("--seed 1 --keep 0,x" "'x' is no fault of this run")
refused("--seed 1 --keep 0," "'' is no fault of this run")
refused("--seed 1 --keep=-1" "'-1' is no fault of this run")
refused("--seed 1 --profile nobody" "there is no profile 'nobody'")
refused("--seed one" "--seed")
refused("--tpyo" "--tpyo")

execute_process(COMMAND ${SIM} --seed 1 --keep none OUTPUT_VARIABLE out RESULT_VARIABLE status)
if(NOT status EQUAL 0 OR NOT out MATCHES "hash [0-9a-f]+\n")
  message(SEND_ERROR "raftkv-sim --seed 1 --keep none: exit status ${status}\n${out}")
endif()
