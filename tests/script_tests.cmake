# Tests that are scripts. Those with the label `registry` need a program that
# is fetched from a package registry when it is not there yet, by a test of its
# own: that one says so when the registry cannot be reached.

# understudy_script_test(NAME LABELS FIXTURES SCRIPT [ARGUMENT...])
function(understudy_script_test name labels fixtures script)
  add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${ARGN})
  set_tests_properties(${name} PROPERTIES
    LABELS "${labels}"
    TIMEOUT 600
    FIXTURES_REQUIRED "${fixtures}"
    ENVIRONMENT "UNDERSTUDY_BUILD=${PROJECT_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1;TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/tsan.supp")
endfunction()

foreach(program agents buf grpcurl)
  add_test(NAME install_${program}
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/e2e/install_${program}.py)
  set_tests_properties(install_${program} PROPERTIES
    LABELS registry TIMEOUT 3600 FIXTURES_SETUP ${program})
endforeach()

understudy_script_test(layering unit "" layering_test.py)
understudy_script_test(buf registry buf proto/buf_test.sh)
understudy_script_test(grpcurl "e2e;registry" grpcurl grpcurl_test.py)
understudy_script_test(claude "e2e;registry" agents e2e/claude_test.py)
understudy_script_test(claude_native "e2e;registry" agents
  e2e/claude_native_test.py)
understudy_script_test(claude_keeps "e2e;registry" agents
  e2e/claude_keeps_test.py)
# The other agents that speak ACP take as long again: tests/README.md has the
# command.
understudy_script_test(acp "e2e;registry" agents
  e2e/acp_test.py --agents=opencode,codex)
set_tests_properties(acp PROPERTIES TIMEOUT 1800)
understudy_script_test(quickstart e2e "" deploy/quickstart_test.sh)
understudy_script_test(deploy unit "" deploy/deploy_test.sh)
