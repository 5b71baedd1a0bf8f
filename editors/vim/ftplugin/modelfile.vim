if exists("b:did_ftplugin")
  finish
endif
let b:did_ftplugin = 1

setlocal comments=:# commentstring=#\ %s
setlocal expandtab shiftwidth=2 softtabstop=2
" `:make` fills the quickfix list; `gggqG` lays the file out, and leaves one with errors as it is.
if executable("modelkit")
  setlocal formatprg=modelkit\ fmt\ --quiet\ -\ 2>/dev/null
endif
setlocal makeprg=modelkit\ check\ --quiet\ --format\ concise\ %:S
setlocal errorformat=%f:%l:%c:\ %trror[%m,%f:%l:%c:\ %tarning[%m,%f:%l:%c:\ %tnfo[%m

let b:undo_ftplugin = "setlocal comments< commentstring< expandtab< shiftwidth< softtabstop< formatprg< makeprg< errorformat<"
