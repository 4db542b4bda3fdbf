# Two processes make the same run of one seed, to the last byte of what the hash takes in. They have nothing in common
# but the program: their stacks and heaps lie elsewhere, so that a run that depends on addresses is seen.
#
#   cmake -DSIM=bin/raftkv-sim -P two_processes.cmake

string(REPEAT x 3000 padding)
foreach(run "1" "2 --profile damage" "3 --profile copies" "4 --profile space")
  separate_arguments(arguments UNIX_COMMAND "--seed ${run} --keep 0,1,2,3,4,5")
  execute_process(COMMAND ${CMAKE_COMMAND} -E env PADDING=x ${SIM} ${arguments}
    OUTPUT_VARIABLE first RESULT_VARIABLE failed ERROR_QUIET)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env PADDING=${padding} ${SIM} ${arguments}
    OUTPUT_VARIABLE second RESULT_VARIABLE failed_again ERROR_QUIET)
  message("seed ${run}: ${first}")
  if(failed OR failed_again OR NOT first MATCHES "hash [0-9a-f]+\nnever reached in this run: [a-z_ ]+\n$" OR NOT first STREQUAL second)
    message(FATAL_ERROR "the other process: ${second}")
  endif()
endforeach()
